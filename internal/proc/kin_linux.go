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

// Describe returns what there is to record of a process that the calling one has just started.
// around are the marks of the actions that the calling process is itself part of, the outermost
// first.
func Describe(root int, mark Mark, around []Mark) (Work, error) {
	return system.describe(root, mark, around)
}

func (p procfs) describe(root int, mark Mark, around []Mark) (Work, error) {
	st, err := p.stat(root)
	if err != nil {
		return Work{}, fmt.Errorf("look at process %d: %w", root, err)
	}
	w := Work{Root: st.ref(), Mark: mark, ControlGroup: p.controlGroup(root), Reaper: p.reaper(os.Getpid(), around)}
	w.Merge([]int{st.group}, []int{st.session})
	return w, nil
}

// reaper returns the process that most likely adopts the orphans of a process's descendants once
// that has gone: of a run within another, the runner around it; else the first ancestor in another
// session. Of the two, and process 1, the kernel chooses one unless somebody between them has made
// itself a reaper, which it doesn't show.
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
		} else if st.session != session {
			return st.ref()
		}
	}
	if st, err := p.stat(1); err == nil {
		return st.ref()
	}
	return Ref{}
}

// Kin returns the ids of the process groups and the sessions of a process and of all that
// descends from it. The error says that the kernel doesn't tell a process's children.
func Kin(root int) (groups, sessions []int, err error) {
	err = system.descend(root, maxKin*maxKin, func(st stat) {
		if !slices.Contains(groups, st.group) {
			groups = append(groups, st.group)
		}
		if !slices.Contains(sessions, st.session) {
			sessions = append(sessions, st.session)
		}
	})
	return groups, sessions, err
}

// descend calls visit for a process and what descends from it, for so many at most.
func (p procfs) descend(root, limit int, visit func(stat)) error {
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
			if st, err := p.stat(child); err == nil {
				visit(st)
				next = append(next, child)
			}
		}
	}
	return nil
}

// children reads proc_pid_task_tid_children(5), which most kernels have. It costs as much as
// the process has threads, not as much as the machine has processes.
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

// Signal sends a signal to the very process that r names; one that has ended is no error. A
// stopped process is continued after a signal that would otherwise wait for that.
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
	// A handle of the process first: if the pid is still that of r after that, the handle is
	// of r. Where the kernel gives none (before Linux 5.3, or refused by a sandbox), a process
	// that ends in this moment and whose pid is given out again would get the signal.
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
