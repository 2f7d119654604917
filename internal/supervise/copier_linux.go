package supervise

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is the largest pipe buffer that an unprivileged process may set.
	pipeSize = 1 << 20
	// terminalSize is more than a pseudo-terminal buffers.
	terminalSize = 128 << 10
)

// receiver returns a function that reads the next piece into buf. The function's error is
// os.ErrDeadlineExceeded when a deadline set by scan has passed; any other error is the end.
func (c *copier) receiver(buf []byte) func() ([]byte, error) {
	// The closure is made once, as it runs for every few lines of a flood.
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
		return readErr != unix.EAGAIN //nolint:errorlint // read(2) returns a bare errno
	}
	return func() ([]byte, error) {
		if err := c.raw.Read(read); err != nil {
			return nil, err
		}
		return p, readErr
	}
}

// readNow reads from a non-blocking file.
func readNow(fd uintptr, buf []byte) ([]byte, error) {
	for {
		n, err := syscall.Read(int(fd), buf)
		switch {
		case n > 0:
			return buf[:n], nil
		case n == 0:
			return nil, io.EOF
		case err != unix.EINTR: //nolint:errorlint // read(2) returns a bare errno
			return nil, err
		}
	}
}

// finish reads all that is in the pipe. No process of the tree is left, but a process outside it may
// hold the pipe open, so end of file may never come. Whatever such a process writes comes after the
// tree's output.
func (c *copier) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.scanPending()
	_ = c.raw.Control(func(fd uintptr) {
		left, err := unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0) // the command may have changed the size
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

// idle says whether everything written so far has been passed on.
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
