package supervise

import (
	"os"
	"os/signal"
	"syscall"
)

// Signals collects the signals sent to this process since Catch.
type Signals struct{ c chan os.Signal }

// Catch keeps Ctrl-C from ending this process, and collects it.
func Catch() *Signals {
	s := &Signals{c: make(chan os.Signal, 64)}
	signal.Notify(s.c, os.Interrupt, syscall.SIGTERM)
	return s
}

// C returns the channel with the signals. A Tree reads from it while it runs.
func (s *Signals) C() <-chan os.Signal { return s.c }

// Release lets Ctrl-C act on this process again. No signal is delivered after it returns.
func (s *Signals) Release() { signal.Stop(s.c) }

// passSignals drops the signals: a console sends Ctrl-C to all its processes, so the command has got
// it.
func (t *Tree) passSignals() {
	var c <-chan os.Signal
	if t.signals != nil {
		c = t.signals.C()
	}
	for {
		select {
		case <-c:
		case <-t.gone:
			waiting(c)
			return
		}
	}
}

// terminate kills: Windows has no way to ask a process to end.
func (c *child) terminate() { c.kill() }

func signalName(sig syscall.Signal) string { return sig.String() }

// HoldStops does nothing: Windows has no terminal stops.
func HoldStops(func(f func())) (release func()) { return func() {} }

// Suspend does nothing: Windows has no terminal stops.
func Suspend(syscall.Signal, func(f func())) {}
