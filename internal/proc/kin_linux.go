package proc

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

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

// kinAnyway is how often a Kin looks at processes that don't seem to have run: some kernels measure running time only
// in milliseconds.
const kinAnyway = 5 * time.Minute

// A Kin looks for the process groups and sessions of all descendants of the calling process that are not older than
// root. Those are root and what it has started, including orphans. It must not be used concurrently.
type Kin struct {
	root Ref
	// ran has for how long each of the processes had run just before it was looked at, in nanoseconds.
	ran    map[int]int64
	looked time.Time // when they were looked at
}

// NewKin returns a Kin that has not looked yet.
func NewKin(root Ref) *Kin { return &Kin{root: root} }

// Look returns the ids of the process groups and sessions, or none if none of the processes has run since the last
// look: then they are the same. It returns an error if the kernel doesn't list a process's children.
func (k *Kin) Look() (groups, sessions []int, err error) {
	if k.idle() {
		return nil, nil, nil
	}
	k.ran, k.looked = map[int]int64{}, time.Now()
	err = system.descend(os.Getpid(), maxKin*maxKin, func(pid int) bool {
		ran, measured := running(pid)
		st, err := system.stat(pid)
		if err != nil || st.start < k.root.StartTime {
			return false
		}
		if measured {
			k.ran[pid] = ran
		} else {
			k.ran[pid] = -1 // which differs from whatever is measured later
		}
		if !slices.Contains(groups, st.group) {
			groups = append(groups, st.group)
		}
		if !slices.Contains(sessions, st.session) {
			sessions = append(sessions, st.session)
		}
		return true
	})
	if err != nil {
		k.ran = nil
	}
	return groups, sessions, err
}

// idle reports whether none of the processes has run since the last look. So none has started another one or
// changed its group or its parent, and none has ended.
func (k *Kin) idle() bool {
	if len(k.ran) == 0 || time.Since(k.looked) >= kinAnyway {
		return false
	}
	for pid, before := range k.ran {
		if ran, measured := running(pid); !measured || ran != before {
			return false
		}
	}
	return true
}

// running returns for how long all threads of a process have run together, in nanoseconds. It is false for a process
// that has ended, and if the system doesn't measure that.
func running(pid int) (ran int64, ok bool) {
	const scheduled = 2 // CPUCLOCK_SCHED of clock_getcpuclockid(3)
	var t unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|scheduled), &t)
	return t.Nano(), err == nil
}

// descend calls visit for the descendants of a process, up to a maximum number. It leaves out the descendants of
// processes for which visit returns false.
func (p procfs) descend(root, limit int, visit func(pid int) bool) error {
	next := []int{root}
	for n := 0; len(next) > 0 && n < limit; n++ {
		pid := next[0]
		children, err := p.children(pid)
		if err != nil {
			return err
		}
		next = next[1:]
		for _, child := range children {
			if visit(child) {
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
