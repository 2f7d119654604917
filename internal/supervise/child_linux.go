package supervise

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A child is the command's process. os/exec isn't used because its own wait for the child would race
// with the wait for the whole tree.
type child struct {
	action   string
	start    int           // start time of the command's process, as in process.start
	warn     func(error)   // nil: warnings are discarded
	exited   chan struct{} // closed when the command itself has ended; with an adopter, possibly some time later
	adopted  bool          // an adopter is the command's parent
	launcher *launcher
	witness  *witness

	// mu is held while a process is reaped or signalled, so that no signal goes to a pid that has been
	// reused.
	mu      sync.Mutex
	pid     int // 0 once reaped
	status  syscall.WaitStatus
	adopter *adopter // nil: this process is the command's parent
	root    int      // ancestor of every process of the tree; noProcess when all have ended
	procs   *procs
	warned  []int // processes that could not be signalled
}

// noProcess is the parent of no process.
const noProcess = -1

// startChild starts the command with this process's standard input, and with stdout and stderr.
func startChild(c Command, stdout, stderr *os.File) (*child, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the reaper of the command's processes: %w", err)
	}
	strangers, err := mayHaveStrangers()
	if err != nil {
		return nil, err
	}
	procs, err := openProcs()
	if err != nil {
		return nil, err
	}
	l, err := newLauncher(c, stdout, stderr, strangers)
	if err != nil {
		procs.close()
		return nil, execError(c, err)
	}
	ch := &child{
		action: c.Action, warn: c.Warn, exited: make(chan struct{}),
		launcher: l, pid: l.pid, start: procs.stat(l.pid).number(statStart), root: os.Getpid(), procs: procs,
	}
	if l.adopter != nil {
		ch.adopter, ch.adopted, ch.root = l.adopter, true, l.adopter.pid
	}
	// The launcher is created first: if only one more process is allowed, it must be that one. A signal
	// sent to the group in between reaches the launcher too, which dies of it or ignores it before it
	// becomes the command.
	var witness sync.WaitGroup
	witness.Go(func() { ch.witness = newWitness() })
	started := false
	defer func() {
		if !started {
			witness.Wait()
			l.discard()
			ch.witness.close()
			procs.close()
		}
	}()
	if c.Record != nil {
		c.Record(l.pid)
	}
	witness.Wait()
	if err := l.run(procs); err != nil {
		return nil, execError(c, err)
	}
	started = true
	return ch, nil
}

// mayHaveStrangers says whether this process may have, or get, children that the command did not start:
// children that a shell left it across an exec, and, if it is the first process of a PID namespace,
// orphans of whatever else runs there (docker exec).
func mayHaveStrangers() (bool, error) {
	if os.Getpid() == 1 {
		return true, nil
	}
	err := waitable(unix.WNOHANG)
	if err == nil || errors.Is(err, unix.ECHILD) {
		return err == nil, nil
	}
	return false, fmt.Errorf("look for child processes: %w", err)
}

// command returns the command's process until it is reaped. c.mu must be held.
func (c *child) command() process { return process{pid: c.pid, parent: c.root, start: c.start} }

// waitable returns once a child has ended, without reaping it.
func waitable(options int) error {
	for {
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT|options, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// wait returns how the command ended, once no process of its tree is left.
func (c *child) wait() (syscall.WaitStatus, error) {
	defer c.launcher.close()
	for !c.ended() {
		if err := waitable(0); err != nil {
			// No child is left (ECHILD): the whole tree has ended.
			break
		}
		c.reap()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.procs.close()
	c.warn = nil // nobody is left for a later signal to reach
	c.learn()
	if c.adopter != nil {
		c.adopter.free()
		c.adopter = nil
	}
	if c.pid != 0 {
		c.pid = 0
		return 0, errors.New("something else reaped the command")
	}
	return c.status, nil
}

// ended says whether the adopter has exited and thus seen the whole tree end.
func (c *child) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.root == noProcess
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
		switch {
		case pid == c.pid && c.root == os.Getpid():
			c.over(status)
		case c.adopter != nil && pid == c.adopter.pid:
			c.adopter.pid, c.root = 0, noProcess
			if !status.Exited() {
				// Somebody killed the adopter. The rest of the tree is now this process's, along with
				// any unrelated children.
				c.learn()
				c.root = os.Getpid()
			}
		}
	}
}

// over records how the command ended. c.mu must be held.
func (c *child) over(status syscall.WaitStatus) {
	c.pid, c.status = 0, status
	close(c.exited)
}

// learn asks the adopter whether the command has ended. c.mu must be held.
func (c *child) learn() {
	if c.pid != 0 && c.adopter != nil && atomic.LoadUint32(&c.adopter.ended) == 1 {
		c.over(syscall.WaitStatus(c.adopter.status))
	}
}

// signal signals the command or, once that has ended, everything that it left running. If the whole
// process group already received the signal, only processes outside the group get it.
func (c *child) signal(sig syscall.Signal, to audience) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.learn()
	has := func(pid int) bool {
		group, err := unix.Getpgid(pid)
		return to == everybody && err == nil && group == unix.Getpgrp()
	}
	if c.pid != 0 && !c.hasExited() {
		if !has(c.pid) {
			_ = c.send(c.command(), sig)
		}
		return
	}
	c.signalTree(sig, func(p process) bool { return !p.nested && !has(p.pid) })
}

// signalAll signals all processes of the tree, except those of a nested kapi run, which signals its
// own.
func (c *child) signalAll(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signalTree(sig, func(p process) bool { return !p.nested })
}

// stopped says whether the command is stopped or, if group is true, whether every process of the tree
// that is in this process's group is.
func (c *child) stopped(group bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.learn()
	if !group {
		return c.pid == 0 || !c.procs.stat(c.pid).runs(0)
	}
	tree, err := c.descendants()
	return err != nil || !slices.ContainsFunc(tree, func(p process) bool {
		return !p.beside && c.procs.stat(p.pid).runs(unix.Getpgrp())
	})
}

// hasExited says whether the command has ended and only waits to be reaped: a signal to it would be
// lost.
func (c *child) hasExited() bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, c.pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err == nil && info.Signo != 0 // 0: it still runs
}

// terminate asks all processes of the tree to end, except those of a nested kapi run, which asks its
// own.
func (c *child) terminate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signalTree(syscall.SIGTERM, func(p process) bool { return !p.nested })
	// A stopped process doesn't handle the signal until it is continued.
	c.signalTree(syscall.SIGCONT, func(process) bool { return true })
}

// kill kills all processes that are in the tree now.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signalTree(syscall.SIGKILL, func(process) bool { return true })
}

// release ends the witness once the tree has ended.
func (c *child) release() { c.witness.close() }

// hear, settle and forget delegate to the witness.
func (c *child) hear(sig syscall.Signal, at time.Time) audience { return c.witness.hear(sig, at) }

func (c *child) settle(second bool) { c.witness.settle(second) }

func (c *child) forget(all ...syscall.Signal) { c.witness.forget(all...) }
