//go:build unix && !linux

package supervise

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

func systemSignals() []os.Signal { return nil }

func ignored(sig os.Signal) bool { return signal.Ignored(sig) }

func stopSelf() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }

// parentOf isn't known here; a process whose parent is of its own group is not
// stopped then.
func parentOf(int) (int, bool) { return 0, false }

// stopped isn't known here.
func (c *child) stopped(bool) bool { return true }

// signal sends to the command, if it may not have got it with everybody else in the group.
func (c *child) signal(sig syscall.Signal, to audience) {
	if to != everybody {
		_ = c.process.Signal(sig)
	}
}

func (c *child) signalAll(sig syscall.Signal) { c.signal(sig, oneself) }

func (c *child) terminate() {
	c.signalAll(syscall.SIGTERM)
	c.signalAll(syscall.SIGCONT)
}

// hear guesses: there is no witness here.
func (c *child) hear(sig syscall.Signal, _ time.Time) audience { return guess(sig) }

func (c *child) settle(bool) {}

func (c *child) forget(...syscall.Signal) {}
