//go:build unix

package supervise

import (
	"os"
	"os/signal"
	"slices"
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

// A courier passes signals on to the command. It is one goroutine's.
type courier struct {
	*Tree
	received  []receipt // not passed on yet, the oldest first
	continued time.Time // when this process was, last
	// shared is when this process last got each signal together with its whole group.
	shared map[syscall.Signal]time.Time
}

// A receipt is a signal that this process got at a time.
type receipt struct {
	sig syscall.Signal
	at  time.Time
}

// passSignals passes on what comes until the tree has ended.
func (t *Tree) passSignals() {
	const (
		look  = time.Millisecond       // for the witness to have got it, too
		quiet = 100 * time.Millisecond // behind the last one
	)
	var from <-chan os.Signal
	if t.signals != nil {
		from = t.signals.C()
	}
	c := courier{Tree: t, shared: map[syscall.Signal]time.Time{}}
	tick := time.NewTimer(quiet)
	defer tick.Stop()
	settled := 2 // looks since the last signal
	for {
		select {
		case sig := <-from:
			c.receive(sig)
			settled = 0
		case <-tick.C:
			if settled++; len(c.received) > 0 {
				settled = 0
			} else if settled <= 2 {
				t.child.settle(settled == 2)
			}
		case <-t.gone:
			waiting(from) // they were the command's
			return
		}
		c.deliver()
		switch {
		case len(c.received) > 0:
			tick.Reset(look)
		case settled < 2:
			tick.Reset(quiet)
		default:
			tick.Stop()
		}
	}
}

// receive takes a signal. A stop undoes every SIGCONT that waits, and that every stop, as in the kernel,
// which may have dropped it for the witness, too: it would be taken for one to this process alone.
func (c *courier) receive(s os.Signal) {
	sig, ok := s.(syscall.Signal)
	if !ok {
		return
	}
	c.received = slices.DeleteFunc(c.received, func(r receipt) bool {
		return isStop(sig) && r.sig == syscall.SIGCONT || sig == syscall.SIGCONT && isStop(r.sig)
	})
	c.received = append(c.received, receipt{sig, time.Now()})
}

// deliver passes on what it can be told of to whom it was sent. They keep their order.
func (c *courier) deliver() {
	for len(c.received) > 0 {
		r := c.received[0]
		to := c.child.hear(r.sig, r.at)
		if to == unclear {
			return
		}
		c.received = c.received[1:]
		if late := r.at.Sub(c.continued) < patience; late && isStop(r.sig) && to == oneself {
			continue // it is from before: see pause
		}
		if !c.merges(r, to) {
			c.pass(r.sig, to)
		}
	}
}

// merges says whether a signal to this process alone is one with that to its group of a moment
// before: timeout(1) signals its command and then the group. Of two that wait the kernel makes one,
// too, but for real-time signals.
func (c *courier) merges(r receipt, to audience) bool {
	const realTime = 32
	if to == everybody {
		c.shared[r.sig] = r.at
		return false
	}
	return r.sig < realTime && r.at.Sub(c.shared[r.sig]) < patience
}

// pass does with a signal what would have happened if the command had been in our
// place.
func (c *courier) pass(sig syscall.Signal, to audience) {
	switch sig {
	case syscall.SIGTSTP:
		c.child.signal(sig, to)
		c.pause(to == everybody)
	case syscall.SIGTTIN, syscall.SIGTTOU:
		// The kernel sends them to the whole group.
		c.pause(true)
	case syscall.SIGWINCH:
		// The kernel tells only those to whom a terminal belongs, and theirs is the real one:
		// they may have looked before their output had the new size.
		if c.output.hasTerminals() {
			c.output.resize()
			c.child.signalAll(sig)
		} else {
			c.child.signal(sig, to)
		}
	default:
		c.child.signal(sig, to)
	}
}

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return sig.String()
}
