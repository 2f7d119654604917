//go:build unix

package supervise

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signals are those that were sent to this process since Catch.
type Signals struct{ c chan os.Signal }

// Catch keeps the signals that this process gets from acting on it, and collects
// them. A signal that was ignored when the process was started (nohup) stays so,
// for its children too. That can be kept of SIGHUP, SIGINT, SIGTSTP, SIGTTIN, SIGTTOU and
// SIGCONT: of the others Go's runtime sets the handlers before any code of a program runs.
func Catch() *Signals {
	s := &Signals{c: make(chan os.Signal, 64)}
	for _, sig := range passed() {
		if !ignored(sig) {
			signal.Notify(s.c, sig)
		}
	}
	// A reader of our standard error that has gone must not end us. It is caught,
	// not ignored, because a child would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return s
}

// C delivers the signals. A Tree reads them while it runs.
func (s *Signals) C() <-chan os.Signal { return s.c }

// Release lets signals act on this process again. None is delivered after it.
func (s *Signals) Release() { signal.Stop(s.c) }

// passed are the signals that somebody may send to a process to tell it something.
func passed() []os.Signal {
	return append([]os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGIO,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGCONT,
	}, systemSignals()...)
}

// pass does with a signal what would have happened if the command had been in our
// place.
func (t *Tree) pass(s os.Signal) {
	sig, ok := s.(syscall.Signal)
	if !ok {
		return
	}
	switch sig {
	case syscall.SIGTSTP:
		group := inForeground()
		if !group {
			t.child.signal(sig)
		}
		t.pause(group)
	case syscall.SIGTTIN, syscall.SIGTTOU:
		// The kernel sends them to the whole group.
		t.pause(true)
	case syscall.SIGWINCH:
		// The kernel tells only those to whom a terminal belongs, and theirs is the real one:
		// they may have looked before their output had the new size.
		if t.output.hasTerminals() {
			t.output.resize()
			t.child.signalAll(sig)
		} else if !inForeground() {
			t.child.signal(sig)
		}
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGCONT:
		// In the foreground they come from the terminal, or from the shell's fg: the
		// child was told, too. A second SIGCONT could undo the next Ctrl-Z, and a second
		// SIGINT means "at once" to many programs. One that somebody sends to this process
		// alone is taken for the terminal's: who sent a signal is in its siginfo, which
		// Go doesn't hand out, and whether a process has handled one is shown nowhere.
		if !inForeground() {
			t.child.signal(sig)
		}
	default:
		t.child.signal(sig)
	}
}

// pause stops this process behind the command, or behind all of its group that was told to stop,
// so that what they say to a terminal last (a full-screen program puts it in order) arrives there.
func (t *Tree) pause(group bool) {
	if orphaned() {
		return
	}
	t.awaitStop(group)
	t.output.release()
	var before []os.Signal
	t.quiesce(func() {
		stopSelf()
		if t.signals != nil {
			before = waiting(t.signals.c)
		}
	})
	if t.output.resize() {
		t.child.signalAll(syscall.SIGWINCH)
	}
	t.output.take()
	// Being continued undoes every stop of before, as it does in the kernel: programs
	// like vim, told to stop, send the signal to their whole group once more.
	for _, sig := range before {
		if !isStop(sig) {
			t.pass(sig)
		}
	}
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

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return sig.String()
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
