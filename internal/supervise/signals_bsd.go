//go:build unix && !linux

package supervise

import (
	"os"
	"os/signal"
	"syscall"
)

func systemSignals() []os.Signal { return nil }

func ignored(sig os.Signal) bool { return signal.Ignored(sig) }

func stopSelf() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }

// parentOf isn't known here; a process whose parent is of its own group is not
// stopped then.
func parentOf(int) (int, bool) { return 0, false }

// stopped isn't known here.
func (c *child) stopped(bool) bool { return true }

func (c *child) signalAll(sig syscall.Signal) { c.signal(sig) }

func (c *child) terminate() {
	c.signal(syscall.SIGTERM)
	c.signal(syscall.SIGCONT)
}
