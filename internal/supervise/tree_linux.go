package supervise

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/proc"
)

// A process is one of the machine's.
type process struct {
	pid, parent int
	// start is when it was started, which tells it from others that have its pid later. 0: not shown.
	start int
	name  string
	// nested: a kapi run that is of the tree itself looks after it.
	nested bool
	// beside: this kapi, or one within, has it beside its command (see besides).
	beside bool
}

// descendants returns the tree's processes, the command included. Since this process, or the
// adopter, is their reaper they are all below it, whatever they did to get away.
func (c *child) descendants() ([]process, error) {
	all, err := c.procs.byParent(c.root)
	if err != nil {
		return nil, err
	}
	var found []process
	var below func(parent int, owned bool)
	below = func(parent int, owned bool) {
		for _, p := range all[parent] {
			action := c.procs.actionOf(p.pid)
			p.nested = owned && action != "" && action != c.action
			p.beside = c.procs.besides(p)
			found = append(found, p)
			below(p.pid, owned || action == c.action)
		}
	}
	below(c.root, false)
	return found, nil
}

// byParent returns the machine's living processes by their parent; those of one, root, also where
// others are hidden.
func (p *procs) byParent(root int) (map[int][]process, error) {
	pids, err := p.pids()
	if err != nil {
		return nil, err
	}
	children, shown := map[int][]process{}, map[int]bool{}
	for _, pid := range pids {
		s := p.stat(pid)
		shown[pid] = s.fields != nil
		if s.lives() {
			parent := s.number(statParent)
			children[parent] = append(children[parent], process{pid: pid, parent: parent, start: s.number(statStart), name: s.name})
		}
	}
	if self := os.Getpid(); !shown[1] || !shown[self] { // hidepid
		for _, pid := range p.children(root) {
			if !shown[pid] {
				children[root] = append(children[root], process{pid: pid, parent: root})
			}
		}
	}
	return children, nil
}

// parentOf is false for a process that has ended.
func parentOf(pid int) (parent int, ok bool) {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false
	}
	s := parseStat(line)
	return s.number(statParent), s.lives()
}

// actionOf returns the action in a process's environment, if it shows one.
func (p *procs) actionOf(pid int) string {
	env, err := p.read(pid, "environ")
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

// signalTree signals the processes of the tree that want chooses, and tells whom it could not
// reach. c.mu is held.
func (c *child) signalTree(sig syscall.Signal, want func(process) bool) {
	tree, err := c.descendants()
	if err != nil {
		c.warnOnce(0, fmt.Errorf("only the command itself can be signalled, not what it has started: %w", err))
	}
	if c.pid != 0 && !slices.ContainsFunc(tree, func(p process) bool { return p.pid == c.pid }) {
		tree = append(tree, c.command())
	}
	for _, p := range tree {
		// What a kapi within has beside its command ends with that kapi, and must not hear of a
		// signal that this one sends to that alone.
		if !want(p) || p.beside && sig != syscall.SIGKILL {
			continue
		}
		if err := c.send(p, sig); err != nil {
			c.warnOnce(p.pid, fmt.Errorf("process %s can't be signalled: %w", Process{p.pid, p.name}, err))
		}
	}
}

// send signals a process, if it still is that. c.mu is held.
func (c *child) send(p process, sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	switch {
	case err == nil:
		defer unix.Close(fd)
	case errors.Is(err, unix.ESRCH):
		return nil
	default: // before Linux 5.3, in a sandbox that refuses what it doesn't know, without a descriptor
		fd = -1
	}
	// The pid may have become another's before the file was opened, or may become that before
	// kill(2) is called, which is a matter of microseconds. A child of ours keeps its pid: c.mu is
	// held, so it isn't reaped.
	if p.parent != os.Getpid() && c.procs.stat(p.pid).number(statStart) != p.start {
		return nil
	}
	if fd >= 0 {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err == nil || errors.Is(err, unix.ESRCH) {
			return nil
		}
	}
	if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// warnOnce tells once of each process. c.mu is held.
func (c *child) warnOnce(pid int, err error) {
	if c.warn == nil || slices.Contains(c.warned, pid) {
		return
	}
	c.warned = append(c.warned, pid)
	c.warn(err)
}

// Unseen says why the processes that a command starts can't be listed on this system, as it is now,
// or returns nil. Then Tree.Stop reaches only the command itself.
func Unseen() error {
	p, err := openProcs()
	if err != nil {
		return err
	}
	defer p.close()
	return p.hidden
}

// remaining returns how the command itself has ended, and what of its tree lives on; false while
// the command runs.
func (c *child) remaining() (status syscall.WaitStatus, left []Process, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.learn()
	if c.pid != 0 {
		return 0, nil, false
	}
	tree, err := c.descendants()
	if err != nil {
		return 0, nil, false
	}
	for _, p := range tree {
		if !p.beside {
			left = append(left, Process{p.pid, p.name})
		}
	}
	slices.SortFunc(left, func(a, b Process) int { return cmp.Compare(a.PID, b.PID) })
	return c.status, left, true
}
