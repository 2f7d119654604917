package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/progress"
)

const (
	// copyBuffer is how many bytes are copied at once.
	copyBuffer = 128 << 10
	// quiet is how long the output must pause before an unfinished line is scanned, such as a progress
	// bar drawn with a leading carriage return.
	quiet = 200 * time.Millisecond
)

// A copier passes on what a tree writes, byte for byte and at once, and scans it. While the tree lives,
// a piece is read only when the one before is written, so that a slow reader slows the tree down as it
// would without a copier, and memory use is bounded. When the tree has ended, finish reads the little
// that its pipe still holds, even while run is stuck in a write, so that the scan is complete before
// the output is delivered.
type copier struct {
	from, to *os.File
	raw      syscall.RawConn // of from
	terminal *terminal       // from is its master; nil if from is a pipe
	faults   *fault.Net      // catches panics of the scanner

	read    chan struct{} // closed when everything has been read and scanned
	written chan struct{} // closed when everything has been passed on, or can't be

	// mu is held while from is read and while the scanner is used, but never while waiting.
	mu      sync.Mutex
	scanner progress.Scanner
	blind   bool   // the scanner panicked: nothing is scanned any more
	pending []byte // being written, not scanned yet
	rest    []byte // read by finish, to be written by run
	over    bool   // nothing more is read; read is closed
	lost    error  // why some output could not be written
}

func newCopier(from, to *os.File, terminal *terminal) (*copier, error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &copier{
		from: from, to: to, raw: raw, terminal: terminal,
		read: make(chan struct{}), written: make(chan struct{}),
	}, nil
}

// run copies until the end of the stream, or until finish has read the rest. After a panic it may be
// called again and continues.
func (c *copier) run() {
	receive := c.receiver(make([]byte, copyBuffer))
	for {
		p, err := receive()
		if len(p) > 0 {
			if c.terminal != nil {
				c.terminal.mirror()
			}
			passed := c.pass(p)
			c.scan()
			if !passed {
				c.stop()
				_ = c.from.Close()
				return
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && c.pause() {
			continue
		}
		if err != nil { // a pseudo-terminal reports the exit of its last process as EIO
			c.stop()
			_ = c.from.Close()
			rest := c.rest
			c.rest = nil
			c.pass(rest)
			return
		}
	}
}

// pass writes all of p. It returns false if the reader is gone. The caller then closes our end, so that the
// command learns it as it would when writing to our file directly: its pipe loses its reader, or its terminal
// is hung up.
//
// Other errors can't be passed on that way: closing the pipe would kill the command, where a full disk
// only causes a write error. So the command continues, and the loss is reported at the end. The next
// piece is still tried, as a disk may have space again.
func (c *copier) pass(p []byte) bool {
	err := writeAll(c.to, p)
	if err == nil {
		return true
	}
	if errors.Is(err, syscall.EPIPE) || c.terminal != nil && c.terminal.stands() && errors.Is(err, syscall.EIO) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost == nil {
		c.lost = fmt.Errorf("%s: %w", c.to.Name(), err)
	}
	return true
}

// scan scans what run has written, unless finish already did. If the last line is unfinished, scan sets
// a deadline for the rest of it.
func (c *copier) scan() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	c.scanPending()
	if !c.blind && c.scanner.Pending() {
		_ = c.from.SetReadDeadline(time.Now().Add(quiet))
	}
}

// scanPending is scan with c.mu held.
func (c *copier) scanPending() {
	c.show(c.pending)
	c.pending = nil
}

// show scans output; look runs any other use of the scanner. c.mu must be held. A panic of the scanner
// must not keep the output from being passed on.
func (c *copier) show(p []byte) { c.look(func() { _, _ = c.scanner.Write(p) }) }

func (c *copier) look(f func()) {
	if !c.blind {
		c.blind = c.faults.Try(f) != nil
	}
}

// pause scans an unfinished line. It returns false if nothing more is read.
func (c *copier) pause() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	_ = c.from.SetReadDeadline(time.Time{})
	c.look(c.scanner.Pause)
	return true
}

// stop ends reading.
func (c *copier) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopReading()
}

// stopReading is stop with c.mu held. It also wakes run.
func (c *copier) stopReading() {
	if c.over {
		return
	}
	c.over = true
	c.look(c.scanner.Flush)
	_ = c.from.SetReadDeadline(time.Unix(1, 0))
	close(c.read)
}

// loss returns why output could not be passed on, nil if all was.
func (c *copier) loss() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// settled is closed once the outcome of the copying is known. If a write can't block for ever (a
// regular file), that is after the last write, since write errors show only then. Pipes, sockets and
// terminals depend on a reader that may never come, so for them it is when everything is read.
func (c *copier) settled() <-chan struct{} {
	info, err := c.to.Stat()
	if err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 && !isTerminal(c.to) {
		return c.written
	}
	return c.read
}

// full turns a write of zero bytes into an error.
func full(n int, err error) error {
	if n <= 0 && err == nil {
		return io.ErrShortWrite
	}
	return err
}
