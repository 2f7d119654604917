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

// A process is any process of this machine.
type process struct {
	pid, parent int
	// start is its start time, which differs from that of a later process with the same pid; 0 if it
	// isn't visible.
	start int
	name  string
	// nested: it belongs to a nested kapi run of the tree, which looks after it.
	nested bool
	// beside: it is a helper process of this kapi or of a nested one (see besides).
	beside bool
}

// descendants returns the tree's processes, the command included. As this process or the adopter is
// their reaper, they all descend from it, whatever they did to get away.
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

// byParent returns the machine's living processes by parent. The children of root are included even if
// /proc hides them.
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

// parentOf returns false for a process that has ended.
func parentOf(pid int) (parent int, ok bool) {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, false
	}
	s := parseStat(line)
	return s.number(statParent), s.lives()
}

// actionOf returns KAPI_ACTION from a process's environment, "" if it can't be read.
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

// signalTree signals the processes of the tree that want selects, and warns about those that it could
// not reach. c.mu must be held.
func (c *child) signalTree(sig syscall.Signal, want func(process) bool) {
	tree, err := c.descendants()
	if err != nil {
		c.warnOnce(0, fmt.Errorf("only the command itself can be signalled, not the processes that it started: %w", err))
	}
	if c.pid != 0 && !slices.ContainsFunc(tree, func(p process) bool { return p.pid == c.pid }) {
		tree = append(tree, c.command())
	}
	for _, p := range tree {
		// A nested kapi's helper processes end with it. A witness must not receive a signal sent to its
		// kapi alone, which would then be taken for one to the group.
		if !want(p) || p.beside && sig != syscall.SIGKILL {
			continue
		}
		if err := c.send(p, sig); err != nil {
			c.warnOnce(p.pid, fmt.Errorf("process %s can't be signalled: %w", Process{p.pid, p.name}, err))
		}
	}
}

// send signals a process, unless its pid has been reused. c.mu must be held.
func (c *child) send(p process, sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	switch {
	case err == nil:
		defer unix.Close(fd)
	case errors.Is(err, unix.ESRCH):
		return nil
	default: // before Linux 5.3, in a sandbox that refuses unknown calls, or out of descriptors
		fd = -1
	}
	// The pid may have been reused before the pidfd was opened. (Where there is no pidfd, it may still be
	// reused in the microseconds before kill(2).) A child of ours keeps its pid: c.mu is held, so it isn't
	// reaped.
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

// warnOnce warns at most once per process. c.mu must be held.
func (c *child) warnOnce(pid int, err error) {
	if c.warn == nil || slices.Contains(c.warned, pid) {
		return
	}
	c.warned = append(c.warned, pid)
	c.warn(err)
}

// Unseen returns why the processes that a command starts can't be listed on this system as it is now,
// nil if they can. If they can't, Tree.Stop reaches only the command itself.
func Unseen() error {
	p, err := openProcs()
	if err != nil {
		return err
	}
	defer p.close()
	return p.hidden
}

// remaining returns how the command itself ended and which processes of its tree still run. ok is false
// while the command runs.
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
