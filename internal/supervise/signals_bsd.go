//go:build unix && !linux

package supervise

import (
	"os"
	"syscall"
)

func systemSignals() []os.Signal { return nil }

func stopSelf() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }

// parentOf isn't known here; a process whose parent is of its own group is not
// stopped then.
func parentOf(int) (int, bool) { return 0, false }

func (c *child) terminate() {
	c.signal(syscall.SIGTERM)
	c.signal(syscall.SIGCONT)
}
