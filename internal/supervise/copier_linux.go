package supervise

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is the most that a pipe is given without privileges.
	pipeSize = 1 << 20
	// terminalSize is more than a pseudo-terminal holds.
	terminalSize = 128 << 10
)

// receiver returns what waits for the next piece, and reads it into buf. Its error is
// os.ErrDeadlineExceeded where scan has set a time for that; any other is the end.
func (c *copier) receiver(buf []byte) func() ([]byte, error) {
	// Made once: this is done for every few lines of a flood.
	var p []byte
	var readErr error
	read := func(fd uintptr) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.over {
			p, readErr = nil, io.EOF
			return true
		}
		p, readErr = readNow(fd, buf)
		c.pending = p
		return readErr != unix.EAGAIN //nolint:errorlint // as read(2) has it
	}
	return func() ([]byte, error) {
		if err := c.raw.Read(read); err != nil {
			return nil, err
		}
		return p, readErr
	}
}

// readNow reads from a file that doesn't block.
func readNow(fd uintptr, buf []byte) ([]byte, error) {
	for {
		n, err := syscall.Read(int(fd), buf)
		switch {
		case n > 0:
			return buf[:n], nil
		case n == 0:
			return nil, io.EOF
		case err != unix.EINTR: //nolint:errorlint // as read(2) has it
			return nil, err
		}
	}
}

// finish reads all that is there: no process of the tree is left. Somebody else may hold the pipe
// open (it was handed to a process that is not of the tree), so its end may never come; but what
// such a one writes stands behind what the tree has written.
func (c *copier) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.scanPending()
	_ = c.raw.Control(func(fd uintptr) {
		left, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0) // the command may have set that
		if err != nil {
			left = terminalSize
		}
		buf := make([]byte, min(left, copyBuffer))
		for left > 0 {
			p, err := readNow(fd, buf)
			if err != nil {
				return
			}
			c.show(p)
			c.rest = append(c.rest, p...)
			left -= len(p)
		}
	})
	c.stopReading()
}

// idle says whether all that was written so far was passed on.
func (c *copier) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return true
	}
	if c.pending != nil {
		return false
	}
	waiting := false
	_ = c.raw.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		waiting = err != nil || n > 0
	})
	return !waiting
}
