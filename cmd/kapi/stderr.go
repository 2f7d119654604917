package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/kettubot/kapi/internal/supervise"
)

// tell writes one line to stderr, or several if the text has several.
func (a *app) tell(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintf(a.stderr, "kapi: %s\n", plain(line))
	}
}

// unwritten is how many lines an aside keeps.
const unwritten = 64

// An aside writes lines in the background: while a command runs, a reader of our standard error
// that is stuck must not keep anybody who only mentions something from what is to be done. Past
// what it keeps, lines are dropped.
type aside struct {
	lines   chan []byte
	closing chan struct{}
	written chan struct{} // closed when all is written
}

// speakAside makes tell return at once, until done is called; that waits until all is said, unless
// it is in haste.
func (a *app) speakAside() (done func(haste bool)) {
	direct := a.stderr
	w := &aside{lines: make(chan []byte, unwritten), closing: make(chan struct{}), written: make(chan struct{})}
	go w.run(direct)
	a.stderr = w
	return func(haste bool) {
		close(w.closing)
		if !haste {
			<-w.written
		}
		a.stderr = direct
	}
}

func (w *aside) run(to io.Writer) {
	defer close(w.written)
	for {
		select {
		case line := <-w.lines:
			_, _ = to.Write(line)
		case <-w.closing:
			if len(w.lines) == 0 {
				return
			}
		}
	}
}

// Write implements io.Writer. It never waits, and never fails.
func (w *aside) Write(line []byte) (int, error) {
	select {
	case w.lines <- append([]byte(nil), line...):
	default:
	}
	return len(line), nil
}

// release lets signals end this process again: what is left to be said may be waited for, or not. One
// that came when nobody looked any more would have ended it, if there is nobody who listens.
func (j *job) release() {
	j.signals.Release()
	for {
		select {
		case sig := <-j.signals.C():
			if number, ok := sig.(syscall.Signal); ok && ends(number) && !supervise.Takes(os.Stderr) {
				j.haste = true
			}
		default:
			return
		}
	}
}
