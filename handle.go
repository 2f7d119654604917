package kapi

import (
	"context"
	"errors"
)

// An Operation is the work of an action. It should return soon after its context ends;
// context.Cause says why that was: a *CancelledError, ErrStopped, ErrGivenUp or ErrLost.
// Returning nil completes the action; an error or a panic fails it, with the text in its state.
type Operation func(context.Context, Handle) error

// A Handle is what an operation reports through, whether its action is in a store that this process
// has open or on a server. All methods may be called concurrently. They do nothing once the operation
// has ended.
type Handle interface {
	// ID returns the action's id.
	ID() string
	// Fence returns the seq of the change that made this process the holder. It grows from one holder
	// of a key to the next, so an outside system that is given it can refuse a stale holder.
	Fence() uint64
	// Action returns the action as it was started.
	Action() Action
	// Dismissed returns the failed actions that the start dismissed, as they were before (see Spec.DismissFailed).
	Dismissed() []Action

	// SetProgress reports how far the operation is, 0 to 1. It notes the value and returns at once; the
	// newest value is published at most ten times a second. Values out of range are clamped; NaN, and
	// values below what was reported already, are ignored (see ResetProgress).
	SetProgress(p float64)
	// ResetProgress makes the progress unknown again: the next SetProgress may be lower.
	ResetProgress()
	// SetState says what the operation is doing now. Longer texts are cut to 500 code points; "" clears
	// the state. Like SetProgress, it returns at once.
	SetState(state string)
	// SetExitCode notes the wrapped command's exit code for the end. A server takes only 0 to 4294967295.
	SetExitCode(code int)

	// Impacted says that the operation has issues but still runs, and why: reason becomes the state until
	// SetState or Recovered is called. It returns once that is on disk, or accepted by the server. An
	// error says why it is not; the operation may continue all the same.
	Impacted(reason string) error
	// Recovered says that the issues are over. If the state is still the reason that Impacted gave, it
	// becomes what it was before. It returns as Impacted does.
	Recovered() error
}

// FailureState returns the state of an action whose operation returned err: the text of err, and the
// cause with which ctx ended if the operation failed because it was cancelled or stopped.
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
