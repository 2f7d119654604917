package supervise

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kettubot/kapi/internal/progress"
)

const (
	// copyBuffer is how much is passed on at once.
	copyBuffer = 128 << 10
	// quiet is for how long nothing must come before an unfinished line is looked at: a
	// progress bar that is drawn with the carriage return in front.
	quiet = 200 * time.Millisecond
)

// A copier passes on what a tree writes, byte for byte and at once, and has it scanned.
type copier struct {
	from, to *os.File
	terminal *terminal // whose master from is, or nil
	scanner  progress.Scanner
	// deaf is set when nobody can be told any more.
	deaf bool
	// gone is set when no process of the tree is left.
	gone atomic.Bool
}

// run copies until the end of the stream, or until finish finds it empty.
func (c *copier) run() {
	defer c.from.Close()
	defer c.scanner.Flush()
	buf := make([]byte, copyBuffer)
	for {
		if c.scanner.Pending() {
			c.setDeadline(time.Now().Add(quiet))
		}
		n, err := c.from.Read(buf)
		if n > 0 && !c.pass(buf[:n]) {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if c.gone.Load() {
				c.drain(buf)
				return
			}
			c.setDeadline(time.Time{})
			c.scanner.Pause()
			continue
		}
		if err != nil { // of a pseudo-terminal, too, whose last process has gone (EIO)
			return
		}
	}
}

// setDeadline sets how long to wait for more; past that of finish there is nothing to wait for.
func (c *copier) setDeadline(t time.Time) {
	_ = c.from.SetReadDeadline(t)
	if c.gone.Load() {
		_ = c.from.SetReadDeadline(longAgo)
	}
}

var longAgo = time.Unix(1, 0)

// pass is false if the writer should learn that nobody reads, as it would if it
// had our own file.
func (c *copier) pass(p []byte) bool {
	if c.terminal != nil {
		c.terminal.mirror()
	}
	if !c.deaf {
		_, err := c.to.Write(p)
		if errors.Is(err, syscall.EPIPE) {
			return false
		}
		// A full disk, or a terminal that is gone: the work goes on without.
		c.deaf = err != nil
	}
	_, _ = c.scanner.Write(p)
	return true
}
