package supervise

import (
	"errors"
	"os"
	"syscall"
)

// copyBuffer is what a pipe holds by default on Linux.
const copyBuffer = 64 << 10

// A copier passes on what a tree writes to its standard error and remembers the
// last line of it.
type copier struct {
	from, to *os.File
	last     lastLine
	// deaf is set when nobody can be told any more.
	deaf bool
}

// run copies until the end of the stream, or until finish finds it empty.
func (c *copier) run() {
	defer c.from.Close()
	defer c.last.flush()
	buf := make([]byte, copyBuffer)
	for {
		n, err := c.from.Read(buf)
		if n > 0 && !c.pass(buf[:n]) {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.drain(buf)
		}
		if err != nil {
			return
		}
	}
}

// pass is false if the writer should learn that nobody reads, as it would if it
// had our standard error itself.
func (c *copier) pass(p []byte) bool {
	_, _ = c.last.Write(p)
	if c.deaf {
		return true
	}
	_, err := c.to.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		return false
	}
	// A full disk, or a terminal that is gone: the work goes on without.
	c.deaf = err != nil
	return true
}
