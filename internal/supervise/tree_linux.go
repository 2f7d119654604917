package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/proc"
)

// A process is one of the machine's.
type process struct {
	pid int
	// nested: a kapi run that is of the tree itself looks after it.
	nested bool
}

// descendants returns the tree's processes, the command included. Since this
// process, or the adopter, is their reaper they are all below it, whatever they did to get away.
// Those that a kapi has beside its command are nobody's to signal or to wait for.
func (c *child) descendants() ([]process, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	var found []process
	var below func(parent int, owned bool)
	below = func(parent int, owned bool) {
		for _, p := range all[parent] {
			action := actionOf(p.pid)
			p.nested = owned && action != "" && action != c.action
			if !besides(p.pid) {
				found = append(found, p)
			}
			below(p.pid, owned || action == c.action)
		}
	}
	below(c.root, false)
	return found, nil
}

// processes returns the machine's living processes by their parent.
func processes() (map[int][]process, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list the processes: %w", err)
	}
	children := map[int][]process{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if parent, ok := parentOf(pid); ok {
			children[parent] = append(children[parent], process{pid: pid})
		}
	}
	return children, nil
}

// parentOf is false for a process that has ended.
func parentOf(pid int) (parent int, ok bool) {
	fields := statOf(pid)
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0, false
	}
	// A zombie whose other threads go on is no zombie yet: it has several.
	const threads = 17
	if state := fields[0][0]; (state == 'Z' || state == 'X') && len(fields) > threads && string(fields[threads]) == "1" {
		return 0, false
	}
	return parent, true
}

// statOf returns what the kernel shows of a process behind its name: state, parent, group, and so on
// (proc_pid_stat(5)). It is empty if there is no such process.
func statOf(pid int) [][]byte {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil
	}
	// The name stands in brackets and may have anything in it, brackets too.
	return bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
}

// running is false for a process that is stopped or has ended, or, unless group is 0, is of
// another group.
func running(pid, group int) bool {
	fields := statOf(pid)
	if len(fields) < 3 || strings.Contains("TtZX", string(fields[0])) {
		return false
	}
	return group == 0 || string(fields[2]) == strconv.Itoa(group)
}

// actionOf returns the action in a process's environment, if it shows one.
func actionOf(pid int) string {
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return ""
	}
	for entry := range bytes.SplitSeq(env, []byte{0}) {
		if value, ok := bytes.CutPrefix(entry, []byte(proc.ActionVariable+"=")); ok {
			return string(value)
		}
	}
	return ""
}

// signalTree signals the processes of the tree that want chooses. c.mu is held.
func (c *child) signalTree(sig syscall.Signal, want func(process) bool) {
	before, err := c.descendants()
	if err != nil {
		// Without /proc the command itself can still be told.
		if c.pid != 0 {
			_ = syscall.Kill(c.pid, sig)
		}
		return
	}
	files := map[int]int{}
	for _, p := range before {
		fd, err := unix.PidfdOpen(p.pid, 0)
		if errors.Is(err, unix.ENOSYS) {
			fd = -1 // before Linux 5.3
		} else if err != nil {
			continue
		}
		files[p.pid] = fd
	}
	// A pid seen before its file was opened may have been another's by then. One
	// that is of the tree after that, too, is either the same process, or the file
	// is of one that has ended.
	after, _ := c.descendants()
	for _, p := range after {
		fd, ok := files[p.pid]
		if !ok || !want(p) {
			continue
		}
		if fd < 0 {
			_ = syscall.Kill(p.pid, sig)
		} else {
			_ = unix.PidfdSendSignal(fd, sig, nil, 0)
		}
	}
	for _, fd := range files {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
