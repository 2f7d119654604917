package supervise

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A child is the command's process. os/exec isn't used: it waits for a child by
// itself, which the waiting for all of the tree would race with.
type child struct {
	action string
	// foreign are the children that this process had when the command was started:
	// they came with it over an exec and belong to nobody's action.
	foreign map[int]bool
	warn    func(error)   // nil: nobody wants to know
	exited  chan struct{} // closed when the command itself has ended

	// mu is held while a process is reaped and while one is signalled, so that no
	// signal goes to a pid that was given to another process.
	mu     sync.Mutex
	pid    int // 0 once reaped
	status syscall.WaitStatus
	procs  *procs
	warned []int // the processes that could not be signalled
}

// startChild starts the command with our standard input, stdout and stderr.
func startChild(c Command, stdout, stderr *os.File) (*child, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the reaper of the command's processes: %w", err)
	}
	procs, err := openProcs()
	if err != nil {
		return nil, err
	}
	foreign, err := procs.foreign()
	if err != nil {
		procs.close()
		return nil, err
	}
	pid, err := syscall.ForkExec(c.Path, c.Args, &syscall.ProcAttr{
		Env:   c.Env,
		Files: []uintptr{0, descriptor(stdout), descriptor(stderr)},
	})
	runtime.KeepAlive(stdout)
	runtime.KeepAlive(stderr)
	if err != nil {
		procs.close()
		return nil, execError(c, err)
	}
	return &child{action: c.Action, foreign: foreign, warn: c.Warn, exited: make(chan struct{}), pid: pid, procs: procs}, nil
}

// command returns the pid of the command, before it is waited for.
func (c *child) command() int { return c.pid }

// foreign returns the children that this process has already.
func (p *procs) foreign() (map[int]bool, error) {
	err := waitable(unix.WNOHANG)
	if errors.Is(err, unix.ECHILD) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for child processes: %w", err)
	}
	all, err := p.byParent()
	if err != nil {
		return nil, fmt.Errorf("tell the command's processes from those that were there before: %w", err)
	}
	found := map[int]bool{}
	for _, p := range all[os.Getpid()] {
		found[p.pid] = true
	}
	return found, nil
}

// waitable returns when a child has ended, without reaping it.
func waitable(options int) error {
	for {
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT|options, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// wait returns how the command ended, when no process of its tree is left.
func (c *child) wait() (syscall.WaitStatus, error) {
	for {
		if err := waitable(0); err != nil {
			// No child is left (ECHILD): all that the tree started was ours in the end.
			break
		}
		c.reap()
		if len(c.foreign) > 0 && c.ended() {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.procs.close()
	c.warn = nil // a signal that comes now has nobody to reach
	if c.pid != 0 {
		c.pid = 0
		return 0, errors.New("somebody else waited for it")
	}
	return c.status, nil
}

func (c *child) reap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if pid == c.pid {
			c.pid, c.status = 0, status
			close(c.exited)
		}
	}
}

// ended looks whether only foreign children are left.
func (c *child) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid != 0 {
		return false
	}
	left, err := c.descendants()
	return err == nil && len(left) == 0
}

// signal sends to the command; when that has ended, to all that it left.
func (c *child) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid != 0 && !c.hasExited() {
		_ = syscall.Kill(c.pid, sig)
		return
	}
	c.signalTree(sig, func(p process) bool { return !p.nested })
}

// signalAll sends to all processes of the tree but those of a kapi run within it, which
// does so itself.
func (c *child) signalAll(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signalTree(sig, func(p process) bool { return !p.nested })
}

// stopped says whether the command is stopped; of group, whether all processes of the tree are
// that are in this process's group.
func (c *child) stopped(group bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !group {
		return c.pid == 0 || !c.procs.stat(c.pid).runs(0)
	}
	tree, err := c.descendants()
	return err != nil || !slices.ContainsFunc(tree, func(p process) bool { return c.procs.stat(p.pid).runs(unix.Getpgrp()) })
}

// hasExited tells a command that is not reaped yet: to that a signal would be lost.
func (c *child) hasExited() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, c.pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err == nil && info.Signo != 0 // 0: it is still there
}

// terminate asks all processes of the tree to end. Those of a kapi run within it
// are asked by that.
func (c *child) terminate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signalTree(syscall.SIGTERM, func(p process) bool { return !p.nested })
	// A stopped process takes no notice before it is continued.
	c.signalTree(syscall.SIGCONT, func(process) bool { return true })
}

// kill kills all processes of the tree that are there now.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signalTree(syscall.SIGKILL, func(process) bool { return true })
}
