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

// pause stops this process behind the command, or behind all of its group that was told to stop,
// so that what they say to a terminal last (a full-screen program puts it in order) arrives there.
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
	// Being continued undoes every stop of before, as it does in the kernel: programs
	// like vim, told to stop, send the signal to their whole group once more. One may still be on its
	// way within Go's runtime.
	c.received = slices.DeleteFunc(c.received, func(r receipt) bool { return isStop(r.sig) })
}

// stopPatience is for how long the command is waited for: it need not stop at all.
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

// isStop tells the signals by which a terminal stops.
func isStop(sig os.Signal) bool {
	return sig == syscall.SIGTSTP || sig == syscall.SIGTTIN || sig == syscall.SIGTTOU
}

// pause stops this process, at a moment when it is in nobody's way, until it is
// continued.
func pause(quiesce func(f func())) {
	if !orphaned() {
		quiesce(stopSelf)
	}
}

// inForeground says whether the terminal's Ctrl-C goes to this process.
func inForeground() bool {
	tty, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(tty)
	group, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// orphaned says whether nobody is there to continue this process's group: then a
// terminal's stop does nothing (POSIX, "orphaned process group"), as for every
// process that doesn't handle it.
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

// Suspend does what a terminal's stop (Ctrl-Z) is to do with this process, which was caught, while
// it supervises nothing. Other signals do nothing.
func Suspend(sig syscall.Signal, quiesce func(f func())) {
	if isStop(sig) {
		pause(quiesce)
	}
}

// HoldStops puts a terminal's stop (Ctrl-Z) of this process off until a moment that
// quiesce chooses (see Command.Quiesce), until release is called. It is for processes
// that supervise nothing.
func HoldStops(quiesce func(f func())) (release func()) {
	c := make(chan os.Signal, 8)
	for _, sig := range []os.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
		if !ignored(sig) {
			signal.Notify(c, sig)
		}
	}
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
