package kapi

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Errors that callers test with errors.Is.
var (
	// ErrUnknown is returned when no ongoing action has that id: it never existed, or it was disposed.
	ErrUnknown = errors.New("unknown action")
	// ErrNotFailed is returned when an action is to be dismissed or continued that has not failed.
	ErrNotFailed = errors.New("the action has not failed")
	// ErrWaiting is returned when the action still waits for its keys and can't run before it has them.
	ErrWaiting = errors.New("the action still waits for its keys")
	// ErrStaleFence is returned when the report's fence is not the action's. Nothing was changed.
	ErrStaleFence = errors.New("stale fence: another runner holds the action")
	// ErrUnavailable is returned when the store can't be reached, read or written now. The wrapping error says why.
	// Nothing was changed, unless the error is ErrOutcomeUnknown too.
	ErrUnavailable = errors.New("store not available")
	// ErrOutcomeUnknown is returned when the store failed during a commit, and could not be asked whether
	// the commit succeeded. The change may have been made. The error is ErrUnavailable too.
	ErrOutcomeUnknown = errors.New("whether it was changed is not known")
	// ErrClosed is returned when the peer was closed.
	ErrClosed = errors.New("kapi is closed")
	// ErrPermanent: an operation that returns it isn't tried again, whatever its Retry says (see operation.Permanent).
	ErrPermanent = errors.New("not to be tried again")
	// ErrOtherRequest is returned when the Idempotency-Key was used for another request before.
	ErrOtherRequest = errors.New("the Idempotency-Key was used with another body")
	// ErrGap is returned when a watcher missed changes that the store no longer has. Start a new Watch.
	ErrGap = errors.New("changes were missed: the feed no longer reaches back that far")
	// ErrAhead is returned when the seq to resume from is above the store's head, as a seq of another history may be.
	ErrAhead = errors.New("the feed has not reached that seq")
)

// Causes (context.Cause) with which an operation's context ends. The fourth is a *CancelledError.
var (
	// ErrStopped: this peer is being closed.
	ErrStopped = errors.New("kapi was stopped")
	// ErrGivenUp: the action has failed because of silence, but its work is still running. It keeps its keys.
	ErrGivenUp = errors.New("the action was given up for silence")
	// ErrLost: the action was dismissed or taken over. Others may hold its keys by now, so the work must stop.
	ErrLost = errors.New("the action was lost")
)

// A FenceError is an ErrStaleFence for a fence that no runner of the action was ever given.
type FenceError struct{ Fence uint64 }

func (e *FenceError) Error() string {
	return fmt.Sprintf("no runner of the action was given fence %d: use the one in the answer to its start", e.Fence)
}

func (e *FenceError) Is(target error) bool { return target == ErrStaleFence }

// A HeldError is returned when a start is refused because an ongoing action holds one of its keys.
type HeldError struct {
	// Key is the first of the wanted keys that another action holds.
	Key string
	// Holder is the action that holds it, with its runner's current HeardAt.
	Holder Action
	// Waited is how long the start was willing to wait (see Spec.Wait).
	Waited time.Duration
	// Circular is true if the start is part of Holder, or part of an action that Holder waits for
	// (see Spec.Within): waiting would never end.
	Circular bool
	// Operation is set instead of Key if as many actions of the operation work as its Limit allows. Holder is the
	// one that began first.
	Operation string
	Limit     int
}

func (e *HeldError) Error() string {
	still := ""
	if e.Waited > 0 {
		still = "still "
	}
	circle := ""
	switch {
	case e.Circular && e.Waiting():
		circle = ", which waits for an action that this start is part of"
	case e.Circular:
		circle = ", which this start is part of"
	}
	if e.Operation != "" {
		return fmt.Sprintf("operation %q is %sat its limit of %d: the first is action %s (%s, %s)", e.Operation, still, e.Limit,
			e.Holder.ID, e.Holder.Title, e.Holder.Status)
	}
	if e.Waiting() {
		return fmt.Sprintf("key %q is waited for by action %s (%s)%s", e.Key, e.Holder.ID, e.Holder.Title, circle)
	}
	status := ", " + e.Holder.Status.String()
	if e.Holder.Status == StatusPending && e.Holder.CreatedAt == 0 { // only its id and title are known
		status = ""
	}
	return fmt.Sprintf("key %q is %sheld by action %s (%s%s)%s", e.Key, still, e.Holder.ID, e.Holder.Title, status, circle)
}

// Waiting reports whether Holder doesn't hold the key but is ahead in the queue for it.
func (e *HeldError) Waiting() bool {
	return e.Holder.Status == StatusPending && !slices.Contains(e.Holder.Keys, e.Key)
}

// An InvalidError says which field of a request is wrong, and why. Field is "" if the whole request is.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + " " + e.Reason
}

// A MoveError is returned when a move is not allowed. From equals To if a failed action takes no more reports.
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

// A CancelledError is the cause of a context that ended because somebody asked to stop.
type CancelledError struct{ By string }

func (e *CancelledError) Error() string {
	if e.By == "" {
		return "cancelled"
	}
	return "cancelled by " + e.By
}

// A NotPausableError says why an action can't be paused or resumed.
type NotPausableError struct{ Reason string }

func (e *NotPausableError) Error() string { return "can't be paused or resumed: " + e.Reason }

// An ArgumentsError is returned when the arguments of an operation are wrong. Fields has at least one.
type ArgumentsError struct {
	Operation string
	Fields    []FieldError
}

func (e *ArgumentsError) Error() string {
	reasons := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		reasons[i] = f.Error()
	}
	return fmt.Sprintf("arguments of operation %q: %s", e.Operation, strings.Join(reasons, "; "))
}

// An UnknownOperationError is returned when no peer offers the operation or has done so in the last 30 days. Known
// has the names that there are, in alphabetical order.
type UnknownOperationError struct {
	Name  string
	Known []string
}

func (e *UnknownOperationError) Error() string {
	known := "there are " + strings.Join(e.Known, ", ")
	switch len(e.Known) {
	case 0:
		known = "there are none"
	case 1:
		known = "there is only " + e.Known[0]
	}
	return fmt.Sprintf("unknown operation %q: %s", e.Name, known)
}

// A NotOfferedError is returned when an operation is known, but no live peer offers it. Nothing was recorded. It is
// ErrUnavailable too.
type NotOfferedError struct{ Operation string }

func (e *NotOfferedError) Error() string { return "no live peer offers " + e.Operation }

func (e *NotOfferedError) Is(target error) bool { return target == ErrUnavailable }

// A PreflightError is returned when the operation's Preflight refused the start.
type PreflightError struct{ Operation, Reason string }

func (e *PreflightError) Error() string {
	return fmt.Sprintf("operation %q was refused by its preflight: %s", e.Operation, e.Reason)
}
