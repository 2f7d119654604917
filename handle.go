package kapi

import (
	"context"
	"errors"
)

// An Operation is the work of an action. It should return soon after its context ends;
// context.Cause says why that was: a *CancelledError, ErrStopped, ErrGivenUp or ErrLost.
// nil completes the action; an error or a panic fails it, with the text in its state.
type Operation func(context.Context, Handle) error

// A Handle is what an operation reports through, be its action in a store that this process has
// open or on a server. All methods may be called concurrently, and after the operation has ended,
// when they do nothing.
type Handle interface {
	// ID returns the action's id.
	ID() string
	// Fence returns the seq of the change that made this process the holder. It grows from one holder
	// of a key to the next, so outside systems that are handed it can refuse a stale one.
	Fence() uint64
	// Action returns the action as it was started.
	Action() Action
	// Dismissed returns the failed actions that the start dismissed, as they were before (see
	// Spec.DismissFailed).
	Dismissed() []Action

	// SetProgress reports how far the operation is, 0 to 1. It notes the value and returns; at most
	// ten times a second the newest is published. Values outside are clamped; NaN, and values below
	// what was reported already, are ignored (see ResetProgress).
	SetProgress(p float64)
	// ResetProgress makes the progress unknown again: the next SetProgress may be lower.
	ResetProgress()
	// SetState says what the operation is doing now, in at most 500 code points (more is cut); ""
	// clears it. Like SetProgress, it returns at once.
	SetState(state string)
	// SetExitCode notes the wrapped command's exit code, for the end. A server takes 0 to 4294967295.
	SetExitCode(code int)

	// Impacted says that the operation has issues but goes on, and why: reason becomes the state until
	// SetState or Recovered is called. It returns when that is on disk, or the server has taken it. The
	// error is a reason why it isn't: the operation may go on all the same.
	Impacted(reason string) error
	// Recovered says that the issues are over; a state that was the reason of Impacted goes back to
	// what it was before. It returns like Impacted.
	Recovered() error
}

// FailureState returns what the state of an action says when its operation returned err: the
// error, and why the operation's context ended if that is what it ended for.
func FailureState(ctx context.Context, err error) string {
	var cancelled *CancelledError
	switch cause := context.Cause(ctx); {
	case cause == nil:
	case errors.Is(err, context.Canceled), errors.Is(err, cause):
		return cause.Error()
	case errors.As(cause, &cancelled), errors.Is(cause, ErrStopped):
		return cause.Error() + ": " + err.Error()
	}
	return err.Error()
}
