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

// A child is the command's process. os/exec isn't used: it waits for a child by
// itself, which the waiting for all of the tree would race with.
type child struct {
	action   string
	start    int           // when the command's process was started, as in process
	warn     func(error)   // nil: nobody wants to know
	exited   chan struct{} // closed when the command itself has ended; if it is adopted, some time later
	adopted  bool          // an adopter is the command's parent
	launcher *launcher
	witness  *witness

	// mu is held while a process is reaped and while one is signalled, so that no
	// signal goes to a pid that was given to another process.
	mu      sync.Mutex
	pid     int // 0 once reaped
	status  syscall.WaitStatus
	adopter *adopter // nil: this process is the command's parent
	root    int      // the process whose descendants the tree is; noProcess when all have ended
	procs   *procs
	warned  []int // the processes that could not be signalled
}

// noProcess is nobody's parent.
const noProcess = -1

// startChild starts the command with our standard input, stdout and stderr.
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
	// The launcher comes first: if there may be one more process only, it is that. A signal to the
	// group between the two it has got already, and ends or ignores it before it becomes the command.
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

// mayHaveStrangers says whether this process may have, or get, children that the command has not
// started: those that a shell left it over an exec, and, as the first process of a PID namespace,
// those of whatever else is run in there (docker exec).
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

// command is the command's process as long as it isn't reaped. c.mu is held.
func (c *child) command() process { return process{pid: c.pid, parent: c.root, start: c.start} }

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
	defer c.launcher.close()
	for !c.ended() {
		if err := waitable(0); err != nil {
			// No child is left (ECHILD): all that the tree started was ours in the end.
			break
		}
		c.reap()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.procs.close()
	c.warn = nil // a signal that comes now has nobody to reach
	c.learn()
	if c.adopter != nil {
		c.adopter.free()
		c.adopter = nil
	}
	if c.pid != 0 {
		c.pid = 0
		return 0, errors.New("somebody else waited for it")
	}
	return c.status, nil
}

// ended says whether the adopter has seen the end of all.
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
				// Somebody has killed it. The rest of the tree is this process's now, with whatever
				// else is.
				c.learn()
				c.root = os.Getpid()
			}
		}
	}
}

// over notes how the command has ended. c.mu is held.
func (c *child) over(status syscall.WaitStatus) {
	c.pid, c.status = 0, status
	close(c.exited)
}

// learn asks the adopter whether the command has ended. c.mu is held.
func (c *child) learn() {
	if c.pid != 0 && c.adopter != nil && atomic.LoadUint32(&c.adopter.ended) == 1 {
		c.over(syscall.WaitStatus(c.adopter.status))
	}
}

// signal sends to the command; when that has ended, to all that it left. If everybody in this
// process's group was sent the signal already, it is sent to those that are not in there.
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
	c.learn()
	if !group {
		return c.pid == 0 || !c.procs.stat(c.pid).runs(0)
	}
	tree, err := c.descendants()
	return err != nil || !slices.ContainsFunc(tree, func(p process) bool {
		return !p.beside && c.procs.stat(p.pid).runs(unix.Getpgrp())
	})
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

// release ends what stands beside the tree, when that has ended.
func (c *child) release() { c.witness.close() }

// hear, settle and forget are the witness's.
func (c *child) hear(sig syscall.Signal, at time.Time) audience { return c.witness.hear(sig, at) }

func (c *child) settle(second bool) { c.witness.settle(second) }

func (c *child) forget(all ...syscall.Signal) { c.witness.forget(all...) }
