package proc

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Describe returns the record of a process that the calling process has just started. around has the
// marks of the actions that the calling process is itself part of, outermost first.
func Describe(root int, mark Mark, around []Mark) (Work, error) {
	return system.describe(root, mark, around)
}

func (p procfs) describe(root int, mark Mark, around []Mark) (Work, error) {
	st, err := p.stat(root)
	if err != nil {
		return Work{}, fmt.Errorf("look at process %d: %w", root, err)
	}
	w := Work{Root: st.ref(), Mark: mark, ControlGroup: p.controlGroup(root), Reaper: p.reaper(os.Getpid(), around)}
	w.Ancestors = p.ancestors(os.Getpid())
	w.Merge([]int{st.group}, []int{st.session})
	return w, nil
}

// Expect returns the record of a command that the calling process is about to start. It has the command's
// mark, and what the command inherits from this process: processes that hide the mark are judged by that.
func Expect(mark Mark) Work {
	pid := os.Getpid()
	w := Work{Mark: mark, ControlGroup: system.controlGroup(pid), Reaper: system.reaper(pid, nil), Ancestors: system.ancestors(pid)}
	w.Root.StartTime = Self().StartTime
	return w
}

// reaper returns the process that most likely adopts the descendants of a process after that has ended. For
// a run within another, that is the runner around it; otherwise it is the first ancestor that is in another
// session or is kapi, too. The kernel chooses either that one or process 1, unless another ancestor has
// made itself a reaper, which the kernel doesn't show (see Work.Ancestors).
func (p procfs) reaper(pid int, around []Mark) Ref {
	t := &Table{fs: p}
	st, err := p.stat(pid)
	session := st.session
	for err == nil && st.parent > 1 {
		if st, err = p.stat(st.parent); err != nil {
			break
		}
		if n := len(around); n > 0 {
			if !slices.Contains(t.environOf(&process{stat: st}).marks, around[n-1]) {
				return st.ref()
			}
		} else if st.session != session || p.same(st.pid, pid) {
			return st.ref()
		}
	}
	if st, err := p.stat(1); err == nil {
		return st.ref()
	}
	return Ref{}
}

// ancestors returns the parent of a process, its parent, and so on.
func (p procfs) ancestors(pid int) (all []Ref) {
	for st, err := p.stat(pid); err == nil && st.parent > 1 && len(all) < maxKin; {
		if st, err = p.stat(st.parent); err == nil {
			all = append(all, st.ref())
		}
	}
	return all
}

// same reports whether two processes are known to execute the same program.
func (p procfs) same(a, b int) bool {
	one, err := os.Readlink(p.path(strconv.Itoa(a), "exe"))
	other, err2 := os.Readlink(p.path(strconv.Itoa(b), "exe"))
	return err == nil && err2 == nil && one == other
}

// Kin returns the ids of the process groups and the sessions of all descendants of the calling process
// that are not older than root. Those are root and what it has started, including orphans. It returns an
// error if the kernel doesn't list a process's children.
func Kin(root Ref) (groups, sessions []int, err error) {
	self := os.Getpid()
	err = system.descend(self, maxKin*maxKin, func(st stat) bool {
		if st.pid == self {
			return true
		}
		if st.start < root.StartTime {
			return false
		}
		if !slices.Contains(groups, st.group) {
			groups = append(groups, st.group)
		}
		if !slices.Contains(sessions, st.session) {
			sessions = append(sessions, st.session)
		}
		return true
	})
	return groups, sessions, err
}

// descend calls visit for a process and its descendants, up to a maximum number. It leaves out the
// descendants of processes for which visit returns false.
func (p procfs) descend(root, limit int, visit func(stat) bool) error {
	st, err := p.stat(root)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at process %d: %w", root, err)
	}
	visit(st)
	next := []int{root}
	for n := 0; len(next) > 0 && n < limit; n++ {
		pid := next[0]
		children, err := p.children(pid)
		if err != nil {
			return err
		}
		next = next[1:]
		for _, child := range children {
			if st, err := p.stat(child); err == nil && visit(st) {
				next = append(next, child)
			}
		}
	}
	return nil
}

// children reads proc_pid_task_tid_children(5), which most kernels have. Its cost grows with the
// threads of the process, not with the processes of the machine.
func (p procfs) children(pid int) (all []int, err error) {
	tasks := procfs(p.path(strconv.Itoa(pid), "task"))
	tids, err := tasks.pids()
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the children of process %d: %w", pid, err)
	}
	for _, tid := range tids {
		data, err := os.ReadFile(tasks.path(strconv.Itoa(tid), "children"))
		if err != nil {
			if _, gone := os.Stat(tasks.path(strconv.Itoa(tid))); gone != nil {
				continue
			}
			return nil, fmt.Errorf("list the children of process %d: %w", pid, err)
		}
		for field := range strings.FieldsSeq(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, child)
			}
		}
	}
	return all, nil
}

// Signal sends a signal to exactly the process that r names. It is not an error if that process has ended.
// After a signal other than SIGKILL and SIGCONT, it continues the process: a stopped one would not handle
// the signal.
func Signal(r Ref, sig syscall.Signal) error {
	err := system.signal(r, sig)
	if err == nil && sig != syscall.SIGKILL && sig != syscall.SIGCONT {
		err = system.signal(r, syscall.SIGCONT)
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal process %d: %w", r.PID, err)
	}
	return nil
}

func (p procfs) signal(r Ref, sig syscall.Signal) error {
	// First get a pidfd. If the pid still belongs to r after that, the pidfd refers to r. Without a
	// pidfd (before Linux 5.3, or if a sandbox refuses it), r may end and its pid be reused just before
	// kill(2), and then another process would get the signal.
	fd, refused := unix.PidfdOpen(r.PID, 0)
	if errors.Is(refused, syscall.ESRCH) {
		return refused
	}
	if refused == nil {
		defer unix.Close(fd)
	}
	if st, err := p.stat(r.PID); missing(err) || err == nil && st.start != r.StartTime {
		return syscall.ESRCH
	} else if err != nil {
		return err
	}
	if refused == nil {
		err := unix.PidfdSendSignal(fd, sig, nil, 0)
		if err == nil || errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return syscall.Kill(r.PID, sig)
}
