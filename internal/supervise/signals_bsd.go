//go:build unix && !linux

package supervise

import (
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func systemSignals() []os.Signal { return nil }

func heeded(signals []os.Signal) []os.Signal { return slices.DeleteFunc(signals, signal.Ignored) }

func stopSelf() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }

// parentOf always fails: a parent isn't known on these systems. So orphaned returns true if this process's
// parent is in the same group, and a terminal's stop then does nothing.
func parentOf(int) (int, bool) { return 0, false }

// stopped always returns true: it isn't known on these systems.
func (c *child) stopped(bool) bool { return true }

// signal signals the command, unless it may already have received the signal with the rest of the
// group.
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

// hear guesses, as there is no witness on these systems.
func (c *child) hear(sig syscall.Signal, _ time.Time) audience { return guess(sig) }

func (c *child) settle(bool) {}

func (c *child) forget(...syscall.Signal) {}
