package kapi

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// What callers test with errors.Is.
var (
	// ErrUnknown: no ongoing action has that id. It never was, or it is disposed.
	ErrUnknown = errors.New("unknown action")
	// ErrNotFailed: only a failed action can be dismissed, and this one has not failed.
	ErrNotFailed = errors.New("only failed actions can be dismissed")
	// ErrWaiting: the action waits for its keys, and can't run before it has them.
	ErrWaiting = errors.New("it has not got its keys yet")
	// ErrStaleFence: the report names a fence that is not the action's. Nothing was changed.
	ErrStaleFence = errors.New("stale fence: another runner holds the action")
	// ErrUnavailable: the store can't be reached, read or written now. Nothing was
	// changed, unless it is ErrOutcomeUnknown too; the wrapping error says why.
	ErrUnavailable = errors.New("store not available")
	// ErrOutcomeUnknown: the store broke while it was committing, and could not be asked what
	// became of it. The change may have been made. It comes with ErrUnavailable.
	ErrOutcomeUnknown = errors.New("whether it was changed is not known")
	// ErrClosed: the peer was closed.
	ErrClosed = errors.New("kapi is closed")
	// ErrOtherRequest: the Idempotency-Key was used for another request before.
	ErrOtherRequest = errors.New("the Idempotency-Key was used with another body")
	// ErrGap: the watcher missed more than the store can still tell. Take a new Watch.
	ErrGap = errors.New("changes were missed: the feed no longer reaches back that far")
	// ErrAhead: the seq to resume from lies above the store's head: of another history, or invented.
	ErrAhead = errors.New("the feed has not come to that seq")
)

// Causes of the end of an operation's context (context.Cause); a CancelledError is
// the fourth.
var (
	// ErrStopped: this peer is being closed.
	ErrStopped = errors.New("kapi was stopped")
	// ErrGivenUp: the action was failed for silence while its work went on. It still holds its keys.
	ErrGivenUp = errors.New("the action was given up for silence")
	// ErrLost: the action was dismissed, or taken over by another runner. Its keys may be
	// another's by now, so the work must stop.
	ErrLost = errors.New("the action was lost")
)

// A FenceError is an ErrStaleFence: no runner of the action was ever given that fence.
type FenceError struct{ Fence uint64 }

func (e *FenceError) Error() string {
	return fmt.Sprintf("no runner of the action was given %d: report with the fence that its start was answered with", e.Fence)
}

func (e *FenceError) Is(target error) bool { return target == ErrStaleFence }

// A HeldError refuses a start: an ongoing action holds one of its keys.
type HeldError struct {
	// Key is the first of the wanted keys that is held.
	Key string
	// Holder is the action that holds it, with its runner's current HeardAt.
	Holder Action
	// Waited is for how long the start was willing to wait (see Spec.Wait).
	Waited time.Duration
	// Circular is true for a Holder that the start is part of, or that waits for such (see
	// Spec.Within): to wait for it would be to wait for ever.
	Circular bool
}

func (e *HeldError) Error() string {
	still := ""
	if e.Waited > 0 {
		still = "still "
	}
	circle := ""
	switch {
	case e.Circular && e.Waiting():
		circle = ", which waits for one that the start is part of"
	case e.Circular:
		circle = ", which the start is part of"
	}
	if e.Waiting() {
		return fmt.Sprintf("key %q is waited for by action %s (%s)%s", e.Key, e.Holder.ID, e.Holder.Title, circle)
	}
	status := ", " + e.Holder.Status.String()
	if e.Holder.Status == StatusPending && e.Holder.CreatedAt == 0 { // no more is known of it than its id and title
		status = ""
	}
	return fmt.Sprintf("key %q is %sheld by action %s (%s%s)%s", e.Key, still, e.Holder.ID, e.Holder.Title, status, circle)
}

// Waiting reports whether the Holder does not hold the key, but came before to wait for it.
func (e *HeldError) Waiting() bool {
	return e.Holder.Status == StatusPending && !slices.Contains(e.Holder.Keys, e.Key)
}

// An InvalidError says which field of a request is wrong, and why; Field is "" for all of it.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + " " + e.Reason
}

// A MoveError refuses a move that the table does not have, or, From and To the same, a report after failure.
type MoveError struct{ From, To Status }

func (e *MoveError) Error() string {
	if e.From == e.To {
		return fmt.Sprintf("an action that is %s takes no more reports", e.From)
	}
	return fmt.Sprintf("an action that is %s can't become %s", e.From, e.To)
}

// A NotCancellableError says why an action can't be cancelled.
type NotCancellableError struct{ Reason string }

func (e *NotCancellableError) Error() string { return "can't be cancelled: " + e.Reason }

// A CancelledError is the cause of an operation's context when somebody asked it to stop.
type CancelledError struct{ By string }

func (e *CancelledError) Error() string {
	if e.By == "" {
		return "cancelled"
	}
	return "cancelled by " + e.By
}
