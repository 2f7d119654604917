package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/supervise"
)

// lines is a text of several lines that kapi itself wrote. Text from elsewhere in it has gone through plain.
type lines string

// eprintf writes to stderr, and begins each line with "kapi: ". Only the format, and arguments that are lines or
// joined errors, begin new lines. Line ends in other texts are escaped, so that they can't pass for kapi's.
func (a *app) eprintf(format string, args ...any) {
	for i, arg := range args {
		switch arg := arg.(type) {
		case lines:
		case error:
			args[i] = lines(strings.Join(errorLines(arg), "\n"))
		case fmt.Stringer:
			args[i] = plain(arg.String())
		case string:
			args[i] = plain(arg)
		}
	}
	var b strings.Builder
	for line := range strings.SplitSeq(a.hide(fmt.Sprintf(format, args...)), "\n") {
		fmt.Fprintf(&b, "kapi: %s\n", plain(line))
	}
	_, _ = io.WriteString(a.stderr, b.String())
}

// errorLines returns a line for each of the errors that were joined in err.
func errorLines(err error) (all []string) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // err itself, not an error that it wraps
		var texts []string
		for _, e := range joined.Unwrap() {
			texts = append(texts, e.Error())
			all = append(all, errorLines(e)...)
		}
		if strings.Join(texts, "\n") == err.Error() {
			return all
		}
	}
	return []string{plain(err.Error())}
}

// unwritten is how many texts an aside buffers.
const unwritten = 64

// An aside writes lines in the background, so that a stuck reader of our standard error doesn't hold up a
// job. Texts that don't fit its buffer are dropped.
type aside struct {
	texts   chan []byte
	closing chan struct{}
	written chan struct{} // closed when all is written
}

// speakAside makes eprintf return at once, until done is called. done waits until all texts are written,
// unless haste is true.
func (a *app) speakAside(faults *fault.Net) (done func(haste bool)) {
	direct := a.stderr
	w := &aside{texts: make(chan []byte, unwritten), closing: make(chan struct{}), written: make(chan struct{})}
	go func() {
		defer close(w.written)
		faults.Keep(func() { w.run(direct) })
	}()
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
	for {
		select {
		case text := <-w.texts:
			_, _ = to.Write(text)
		case <-w.closing:
			if len(w.texts) == 0 {
				return
			}
		}
	}
}

// Write implements io.Writer. It never waits, and never fails.
func (w *aside) Write(text []byte) (int, error) {
	select {
	case w.texts <- append([]byte(nil), text...):
	default:
	}
	return len(text), nil
}

// release lets signals end this process again, while its last messages are written. If a signal that would
// have ended it is still unread, and nobody reads stderr, it sets haste, so that kapi doesn't wait.
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
