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

// lines is a text of kapi's own that has several; all that is from elsewhere in it is plain.
type lines string

// eprintf writes to stderr. There are as many lines as the format has, and those of arguments that are lines: no
// other text makes one, so that none looks as if kapi had said it.
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

// errorLines is a line for each of the errors that were joined in err.
func errorLines(err error) (all []string) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // itself, not what it wraps
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

// unwritten is how many texts an aside keeps.
const unwritten = 64

// An aside writes lines in the background: while a command runs, a reader of our standard error
// that is stuck must not keep anybody who only mentions something from what is to be done. Past
// what it keeps, texts are dropped.
type aside struct {
	texts   chan []byte
	closing chan struct{}
	written chan struct{} // closed when all is written
}

// speakAside makes eprintf return at once, until done is called; that waits until all is said, unless
// it is in haste.
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
