package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/supervise"
)

// How kapi run sees to it that the end of its action is recorded.

// awaitRecord waits for the end to be recorded. Where that takes its time, the user
// may give up.
func (j *job) awaitRecord(done <-chan error) error {
	const silently = 2 * time.Second
	const settling = 100 * time.Millisecond // in which what was typed to end the command may still come
	began := time.Now()
	patience := time.NewTimer(silently)
	defer patience.Stop()
	warned, givenUp := false, false
	for {
		select {
		case err := <-done:
			return err
		case <-patience.C:
			how := "never ran"
			if j.result != nil {
				how = "has ended (" + j.result.String() + ")"
			}
			j.app.eprintf("the command %s, but the end of action %s can't be recorded yet; trying %s until Ctrl-C", how, j.id, j.tried())
			warned = true
		case sig := <-j.signals.C():
			number, ok := sig.(syscall.Signal)
			typed := number == syscall.SIGINT || number == syscall.SIGQUIT
			givenUp = givenUp || ok && ends(number) && (!typed || time.Since(began) > settling)
		}
		if warned && givenUp {
			go j.faults.Try(j.place.close) // do returns, as nothing is waited for any more
			return <-done
		}
	}
}

// tried says for how long an end is tried to be recorded.
func (j *job) tried() string {
	if j.EndTimeout == 0 {
		return "again"
	}
	return fmt.Sprintf("for %v, or", j.EndTimeout)
}

// warnUnrecorded says that the end of the action is not what the record has. kapi exits as the command
// did all the same: whoever started it asked for that.
func (j *job) warnUnrecorded(err error) {
	switch {
	case err == nil:
	case j.result != nil && (errors.Is(err, kapi.ErrUnavailable) || is[*fault.Panic](err)):
		j.app.eprintf("the command has ended (%s), but that is on no record: %v", j.result, err)
	default:
		j.app.eprintf("%v", err)
	}
}

// waitsFor says how the command itself has ended, and what its action still waits for.
func waitsFor(r supervise.Result, left []supervise.Process) string {
	const most = 5
	var names []string
	for _, p := range left[:min(len(left), most)] {
		names = append(names, p.String())
	}
	text := r.String() + "; waiting for " + strings.Join(names, ", ")
	if more := len(left) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// without returns what is in a joined error besides known.
func without(err, known error) error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return err
	}
	var rest []error
	for _, e := range joined.Unwrap() {
		if e != known { //nolint:errorlint // the very same
			rest = append(rest, e)
		}
	}
	return errors.Join(rest...)
}

// undo dismisses the action of a command that never ran: nothing is half done, so
// nobody needs to look before it is tried again.
func (j *job) undo() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := j.place.Dismiss(ctx, j.id, "kapi run, whose command never ran"); err != nil && !errors.Is(err, kapi.ErrUnknown) {
		j.app.eprintf("action %s holds its keys, although nothing was run: %v", j.id, err)
	}
}
