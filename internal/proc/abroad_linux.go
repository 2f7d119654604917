package proc

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// initialNamespace is the kernel's name for the initial PID namespace, which all others are within
// (PROC_PID_INIT_INO in linux/proc_ns.h).
const initialNamespace = "pid:[4026531836]"

// RemainsAbroad is Remains for a work whose runner was in another PID namespace of this kernel. namespace is
// the Identity.PIDNamespace that the runner recorded. The pids in the work are of that namespace and mean
// nothing here. A process can move only into a PID namespace within its own. So if no process is in the
// runner's namespace or one within that, nothing is left of the work. Only a process in the initial PID
// namespace that can look at every process can see this; for any other, some may be hidden.
func (t *Table) RemainsAbroad(w Work, namespace string) (r Remains) {
	pids, clock, _ := strings.Cut(namespace, " ")
	_, own, _ := strings.Cut(t.namespace, " ")
	r.Hidden = t.hidden || pids == "" || !strings.HasPrefix(t.namespace+" ", initialNamespace+" ")
	for _, p := range t.sorted() {
		if p.kernel() {
			continue
		}
		marks := t.environOf(p).marks // before lives: it may find that the process ends
		if !t.lives(p) {
			continue
		}
		if w.Mark != "" && slices.Contains(marks, w.Mark) {
			one := p.process()
			one.Inner = marks[len(marks)-1] != w.Mark
			r.Sure = append(r.Sure, one)
			continue
		}
		older := clock == own && w.Root.StartTime != 0 && p.start < w.Root.StartTime
		if r.Hidden || older {
			continue
		}
		switch in, err := t.fs.within(p.pid, pids); {
		case err != nil && !missing(err):
			r.Hidden = true
		case in:
			r.Maybe = append(r.Maybe, p.process())
		}
	}
	if r.Hidden {
		r.Maybe = nil
	}
	return r
}

// within reports whether a process is in a PID namespace, or in one within that.
func (p procfs) within(pid int, namespace string) (bool, error) {
	path := p.path(strconv.Itoa(pid), "ns", "pid")
	is, err := os.Readlink(path)
	if err != nil || is == namespace || is == initialNamespace {
		return is == namespace, err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(fd) }()
	for {
		parent, err := unix.IoctlRetInt(fd, unix.NS_GET_PARENT)
		if err != nil {
			return false, err
		}
		_ = unix.Close(fd)
		fd = parent
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			return false, err
		}
		switch is := "pid:[" + strconv.FormatUint(stat.Ino, 10) + "]"; is {
		case namespace:
			return true, nil
		case initialNamespace:
			return false, nil
		}
	}
}
