package supervise

import (
	"syscall"
	"time"
)

// maxDrain is the most that a pipe is given without privileges.
const maxDrain = 1 << 20

// finish ends the copying: no process of the tree is left. Somebody else may hold
// the pipe open (it was handed to a process that is not of the tree), so its end
// may never come.
func (c *copier) finish() {
	c.gone.Store(true)
	_ = c.from.SetReadDeadline(longAgo)
}

// drain passes on what the pipe holds now.
func (c *copier) drain(buf []byte) {
	_ = c.from.SetReadDeadline(time.Time{})
	raw, err := c.from.SyscallConn()
	if err != nil {
		return
	}
	for total := 0; total < maxDrain; {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = syscall.Read(int(fd), buf)
			return true
		})
		if err != nil || n <= 0 || !c.pass(buf[:n]) {
			return
		}
		total += n
	}
}
