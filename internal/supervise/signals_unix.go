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

// Signals collects the signals sent to this process since Catch.
type Signals struct{ c chan os.Signal }

// Catch keeps signals from acting on this process, and collects them. A signal that was ignored when
// the process started (nohup) stays ignored, also in its children. That works only for SIGHUP, SIGINT,
// SIGTSTP, SIGTTIN, SIGTTOU and SIGCONT: Go's runtime installs handlers for the others before any code
// of the program runs.
func Catch() *Signals {
	s := &Signals{c: make(chan os.Signal, 64)}
	notify(s.c, passed())
	// If the reader of our standard error goes away, that must not end this process. SIGPIPE is caught,
	// not ignored, because children would inherit an ignored one.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return s
}

// notify collects the signals that this process doesn't ignore.
func notify(c chan<- os.Signal, signals []os.Signal) {
	if heard := heeded(signals); len(heard) > 0 { // Notify without signals collects all
		signal.Notify(c, heard...)
	}
}

// C returns the channel with the signals. A Tree reads from it while it runs.
func (s *Signals) C() <-chan os.Signal { return s.c }

// Release lets signals act on this process again. No signal is delivered after it returns.
func (s *Signals) Release() { signal.Stop(s.c) }

// passed returns the signals that are passed on to the command.
func passed() []os.Signal {
	return append([]os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGIO,
		syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGCONT,
	}, systemSignals()...)
}

// A courier passes signals on to the command. It is used by one goroutine.
type courier struct {
	*Tree
	received  []receipt // not passed on yet, the oldest first
	continued time.Time // when this process was last continued
	// shared is when each signal was last received together with the whole group.
	shared map[syscall.Signal]time.Time
}

// A receipt is a signal and when this process received it.
type receipt struct {
	sig syscall.Signal
	at  time.Time
}

// passSignals passes signals on until the tree has ended.
func (t *Tree) passSignals() {
	const (
		look  = time.Millisecond       // time for the witness to get the signal too
		quiet = 100 * time.Millisecond // after the last signal
	)
	var from <-chan os.Signal
	if t.signals != nil {
		from = t.signals.C()
	}
	c := courier{Tree: t, shared: map[syscall.Signal]time.Time{}}
	tick := time.NewTimer(quiet)
	defer tick.Stop()
	settled := 2 // ticks since the last signal
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
			waiting(from) // drops those that are still queued: they were for the command
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

// receive queues a signal. As in the kernel, a stop cancels every queued SIGCONT, and a SIGCONT every
// queued stop. The kernel may have cancelled them for the witness already, and then they would look
// like signals to this process alone.
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

// deliver passes on the queued signals in order, until it reaches one whose audience isn't known yet.
func (c *courier) deliver() {
	for len(c.received) > 0 {
		r := c.received[0]
		to := c.child.hear(r.sig, r.at)
		if to == unclear {
			return
		}
		c.received = c.received[1:]
		if late := r.at.Sub(c.continued) < patience; late && isStop(r.sig) && to == oneself {
			continue // sent before the last stop: see pause
		}
		if !c.merges(r, to) {
			c.pass(r.sig, to)
		}
	}
}

// merges says whether a signal to this process alone counts as the same as one sent to the group a
// moment before: timeout(1) signals first its command and then the group. The kernel does the same: it
// merges two pending signals of the same number, unless they are real-time signals.
func (c *courier) merges(r receipt, to audience) bool {
	const realTime = 32
	if to == everybody {
		c.shared[r.sig] = r.at
		return false
	}
	return r.sig < realTime && r.at.Sub(c.shared[r.sig]) < patience
}

// pass does with a signal what would have happened if the command had run in this process's place.
func (c *courier) pass(sig syscall.Signal, to audience) {
	switch sig {
	case syscall.SIGTSTP:
		c.child.signal(sig, to)
		c.pause(to == everybody)
	case syscall.SIGTTIN, syscall.SIGTTOU:
		// The kernel sends these to the whole group.
		c.pause(true)
	case syscall.SIGWINCH:
		// The kernel signals only processes on the real terminal, and they may have read the size of
		// their pseudo-terminal before it was changed.
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
