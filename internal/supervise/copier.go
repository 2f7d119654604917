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
	// copyBuffer is how much is passed on at once.
	copyBuffer = 128 << 10
	// quiet is for how long nothing must come before an unfinished line is looked at: a
	// progress bar that is drawn with the carriage return in front.
	quiet = 200 * time.Millisecond
)

// A copier passes on what a tree writes, byte for byte and at once, and has it scanned. As long as
// the tree lives nothing more is read before all is written, so that a slow reader slows the tree
// down, as it would without a copier, and no memory is needed. When the tree has ended, the little
// that its pipe still holds is read (finish) even while run is stuck in writing: then all that was
// said is known, whoever takes it when.
type copier struct {
	from, to *os.File
	raw      syscall.RawConn // from's
	terminal *terminal       // whose master from is, or nil
	faults   *fault.Net      // catches what looking at the output panics with

	read    chan struct{} // closed when all was read and scanned
	written chan struct{} // closed when all was passed on, or can't be

	// mu is held while from is read and while the scanner is used, never while something is
	// waited for.
	mu      sync.Mutex
	scanner progress.Scanner
	blind   bool   // the scanner panicked: nothing is looked at any more
	pending []byte // is being written, and was not scanned yet
	rest    []byte // what finish has read, for run to write
	over    bool   // nothing more is read; read is closed
	lost    error  // why not all could be written
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

// run copies until the end of the stream, or until finish has read that. Behind a panic it may be
// called again, and goes on.
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
		if err != nil { // of a pseudo-terminal, too, whose last process has gone (EIO)
			c.stop()
			_ = c.from.Close()
			rest := c.rest
			c.rest = nil
			c.pass(rest)
			return
		}
	}
}

// pass writes all of p. It is false if the writer should learn that nobody takes it, as it would
// if it had our own file: it will find its pipe without a reader, or its terminal hung up.
//
// Other errors can't be handed on: a pipe whose reader has gone would kill the command, where a
// full disk was only an error to it. So it goes on, and what was lost is told at the end. A disk
// may have room again, so the next piece is tried again.
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

// scan looks at what run has written, unless finish has done so meanwhile. If a line stands
// unfinished, it sets for how long its rest is waited for.
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

// show has output scanned; look does whatever else with the scanner. c.mu is held. What is in
// the output must not keep it from being passed on, even where kapi is at fault.
func (c *copier) show(p []byte) { c.look(func() { _, _ = c.scanner.Write(p) }) }

func (c *copier) look(f func()) {
	if !c.blind {
		c.blind = c.faults.Try(f) != nil
	}
}

// pause looks at a line that stands unfinished. It is false if there is nothing to wait for.
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

// stop ends the reading.
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

// loss says why not all could be passed on, if so.
func (c *copier) loss() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// settled is closed when it is known how the copying ends: where writing can't get stuck that is
// the end of it, for only then errors are known. Pipes, sockets and terminals are taken by somebody, who
// may take for ever.
func (c *copier) settled() <-chan struct{} {
	info, err := c.to.Stat()
	if err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) == 0 && !isTerminal(c.to) {
		return c.written
	}
	return c.read
}

// full turns a write that took nothing into an error.
func full(n int, err error) error {
	if n <= 0 && err == nil {
		return io.ErrShortWrite
	}
	return err
}
