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

// How kapi run gets the end of its action recorded.

// awaitRecord waits until the end is recorded. If that takes long, it says so, and then a signal ends the
// wait.
func (j *job) awaitRecord(done <-chan error) error {
	const silently = 2 * time.Second
	const settling = 100 * time.Millisecond // a Ctrl-C typed to end the command may arrive this late
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
			j.app.eprintf("the command %s, but the end of action %s can't be recorded yet; retrying%s until Ctrl-C", how, j.id, j.tried())
			warned = true
		case sig := <-j.signals.C():
			number, ok := sig.(syscall.Signal)
			typed := number == syscall.SIGINT || number == syscall.SIGQUIT
			givenUp = givenUp || ok && ends(number) && (!typed || time.Since(began) > settling)
		}
		if warned && givenUp {
			go j.faults.Try(j.place.close) // makes do return
			return <-done
		}
	}
}

// tried says for how long recording the end is retried.
func (j *job) tried() string {
	if j.EndTimeout == 0 {
		return ""
	}
	return fmt.Sprintf(" for %v or", j.EndTimeout)
}

// warnUnrecorded prints why the end of the action is not recorded, if it isn't. kapi exits with the command's
// code all the same, as its caller expects.
func (j *job) warnUnrecorded(err error) {
	switch {
	case err == nil:
	case j.result != nil && (errors.Is(err, kapi.ErrUnavailable) || is[*fault.Panic](err)):
		j.app.eprintf("the command has ended (%s), but that is not recorded: %v", j.result, err)
	default:
		j.app.eprintf("%v", err)
	}
}

// waitsFor says how the command itself has ended, and for which processes its action still waits.
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

// without removes known from a joined error.
func without(err, known error) error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return err
	}
	var rest []error
	for _, e := range joined.Unwrap() {
		if e != known { //nolint:errorlint // this very error
			rest = append(rest, e)
		}
	}
	return errors.Join(rest...)
}

// undo dismisses the action of a command that never ran. Nothing is half done, so nobody needs to look at
// it before the next try.
func (j *job) undo() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := j.place.Dismiss(ctx, j.id, "kapi run, whose command never ran"); err != nil && !errors.Is(err, kapi.ErrUnknown) {
		j.app.eprintf("action %s holds its keys, although its command never ran: %v", j.id, err)
	}
}
