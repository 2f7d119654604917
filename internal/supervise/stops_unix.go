//go:build unix

package supervise

import (
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pause waits until the command, or its whole group if that was told to stop, has stopped, and then
// stops this process. So the last output before the stop (a full-screen program restores the terminal)
// still arrives.
func (c *courier) pause(group bool) {
	if orphaned() {
		return
	}
	c.awaitStop(group)
	c.output.release()
	c.quiesce(func() {
		stopSelf()
		c.continued = time.Now()
		c.child.forget(syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
		if c.signals != nil {
			for _, sig := range waiting(c.signals.c) {
				c.receive(sig)
			}
		}
	})
	if c.output.resize() {
		c.child.signalAll(syscall.SIGWINCH)
	}
	c.output.take()
	// As in the kernel, being continued cancels all earlier stops: programs like vim, when told to
	// stop, send the signal to their whole group again. One such signal may still be queued in Go's
	// runtime.
	c.received = slices.DeleteFunc(c.received, func(r receipt) bool { return isStop(r.sig) })
}

// stopPatience limits the wait for the command to stop, as it need not stop at all.
const stopPatience = 500 * time.Millisecond

func (t *Tree) awaitStop(group bool) {
	limit := time.NewTimer(stopPatience)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !t.child.stopped(group) || !t.output.idle() {
		select {
		case <-tick.C:
		case <-limit.C:
			return
		case <-t.gone:
			return
		}
	}
}

// isStop says whether sig is one of the signals with which a terminal stops a process.
func isStop(sig os.Signal) bool {
	return sig == syscall.SIGTSTP || sig == syscall.SIGTTIN || sig == syscall.SIGTTOU
}

// pause stops this process, at a moment chosen by quiesce, and returns when it has been continued.
func pause(quiesce func(f func())) {
	if !orphaned() {
		quiesce(stopSelf)
	}
}

// inForeground says whether this process's group is the terminal's foreground group, which Ctrl-C goes
// to.
func inForeground() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// orphaned says whether nobody is left to continue this process's group. A terminal's stop then does
// nothing (POSIX, "orphaned process group"), as for any process that doesn't handle it.
func orphaned() bool {
	group := unix.Getpgrp()
	session, err := unix.Getsid(0)
	if err != nil {
		return true
	}
	for pid := unix.Getppid(); pid > 0; {
		theirs, err := unix.Getsid(pid)
		if err != nil || theirs != session {
			return true
		}
		if g, err := unix.Getpgid(pid); err != nil || g != group {
			return err != nil
		}
		parent, ok := parentOf(pid)
		if !ok {
			return true
		}
		pid = parent
	}
	return true
}

// Suspend handles a caught terminal stop (Ctrl-Z) while this process supervises nothing: it stops the
// process as the signal would have. Other signals do nothing.
func Suspend(sig syscall.Signal, quiesce func(f func())) {
	if isStop(sig) {
		pause(quiesce)
	}
}

// HoldStops delays a terminal's stop (Ctrl-Z) of this process to a moment that quiesce chooses (see
// Command.Quiesce), until release is called. It is for processes that supervise nothing.
func HoldStops(quiesce func(f func())) (release func()) {
	c := make(chan os.Signal, 8)
	notify(c, []os.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU})
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-c:
				pause(quiesce)
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(c)
		close(done)
		wg.Wait()
	}
}
