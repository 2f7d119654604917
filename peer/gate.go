package peer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/wellformed"
)

// preflightLimit is how long an operation's Preflight may take.
const preflightLimit = time.Minute

// A gate is what the action of a defined operation passes between having its keys and beginning.
type gate struct {
	preflight func(context.Context) error // nil if there is none
	// passed is closed when the action has begun or will not. Then began is the action as it was begun, unless err is
	// set.
	passed chan struct{}
	began  kapi.Action
	err    error
}

// newGate returns the gate of an action. A continuation has no preflight: it would refuse what the failed action has left
// half done, and by then that action is dismissed, so nothing would be left to continue.
func newGate(log *slog.Logger, d *kapi.Definition, arguments json.RawMessage, continues bool) *gate {
	g := &gate{passed: make(chan struct{})}
	if d.Preflight != nil && !continues {
		g.preflight = func(ctx context.Context) error {
			_, err := preflight(ctx, log, d, arguments)
			return err
		}
	}
	return g
}

// tell notes whether the action has begun. g may be nil.
func (g *gate) tell(began kapi.Action, err error) {
	if g != nil {
		g.began, g.err = began, err
		close(g.passed)
	}
}

var (
	errPreflightSlow = fmt.Errorf("it did not end within %v", preflightLimit)
	errPreflightExit = errors.New("its goroutine exited without returning")
)

// preflight calls the operation's Preflight. The error is a *PreflightError, or the cause of the end of ctx. A Preflight
// that doesn't return although its context has ended is left behind.
func preflight(ctx context.Context, log *slog.Logger, d *kapi.Definition, arguments json.RawMessage) (kapi.Preview, error) {
	limited, cancel := context.WithTimeoutCause(ctx, preflightLimit, errPreflightSlow)
	defer cancel()
	type result struct {
		preview kapi.Preview
		err     error
	}
	done := make(chan result, 1)
	go func() {
		r := result{err: errPreflightExit}
		defer func() {
			if v := recover(); v != nil {
				log.Error("the preflight of an operation panicked", "operation", d.Name, "panic", v, "stack", string(debug.Stack()))
				r.err = &panicError{v}
			}
			done <- r
		}()
		r.preview, r.err = d.Preflight(limited, arguments)
	}()
	var r result
	select {
	case r = <-done:
	case <-limited.Done():
		r.err = context.Cause(limited)
	}
	switch {
	case r.err == nil:
		r.preview.Lines = r.preview.Lines[:min(len(r.preview.Lines), maxPreviewLines)]
		return r.preview, nil
	case ctx.Err() != nil:
		return kapi.Preview{}, context.Cause(ctx)
	case limited.Err() != nil:
		r.err = errPreflightSlow
	}
	reason := cmp.Or(fit(r.err.Error(), wellformed.MaxState), "it gave no reason")
	return kapi.Preview{}, &kapi.PreflightError{Operation: d.Name, Reason: reason}
}
