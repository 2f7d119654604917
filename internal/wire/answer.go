package wire

import (
	"cmp"
	"fmt"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// An Answer is the body of a response with status 300 or above, as a client reads it.
type Answer struct {
	Code     int
	Message  string
	Incident string `json:"report"`
	Facts
	// RetryAfter is from a Limited.
	RetryAfter float64 `json:"retry_after"`
	// These are from a Held.
	Action   *kapi.Action
	Key      string
	Limit    int
	Circular bool
}

// Err returns the error that the code and the facts stand for, or nil for a code that is not in the
// tables of this package. The message is at most passed on, never searched.
func (a *Answer) Err() error {
	switch a.Code {
	case codeBody, codeQuery:
		return a.invalid()
	case codeUnknown:
		if a.CancelledBy != nil {
			return &kapi.CancelledError{By: *a.CancelledBy}
		}
	case codeNoOperation:
		return &kapi.UnknownOperationError{Name: a.Operation, Known: a.Operations}
	case codePreflight:
		return &kapi.PreflightError{Operation: a.Operation, Reason: cmp.Or(a.Reason, a.Message)}
	case codeHeld:
		if a.Action != nil {
			return &kapi.HeldError{Key: a.Key, Holder: *a.Action, Circular: a.Circular, Operation: a.Operation, Limit: a.Limit}
		}
	case codeStaleFence:
		if a.Fence != nil {
			return &kapi.FenceError{Fence: *a.Fence}
		}
	case codeMove:
		return a.move()
	case codeNotCancelled:
		return &kapi.NotCancellableError{Reason: cmp.Or(a.Reason, a.Message)}
	case codeForbidden:
		return a.forbidden()
	case 0:
		if a.Incident != "" && a.Operation != "" {
			return &kapi.NotOfferedError{Operation: a.Operation}
		}
	}
	for _, r := range refusals {
		if r.Code == a.Code {
			return r.err
		}
	}
	return nil
}

// invalid returns the error for a request that is wrong in itself.
func (a *Answer) invalid() error {
	switch {
	case len(a.Fields) > 0:
		return &kapi.ArgumentsError{Operation: a.Operation, Fields: a.Fields}
	case a.Field == "":
		return &kapi.InvalidError{Reason: cmp.Or(a.Message, BadBody.Message)}
	}
	return &kapi.InvalidError{Field: a.Field, Reason: a.Reason}
}

// move returns the error for a report that came too late, or asked for a move that is not allowed.
func (a *Answer) move() error {
	switch {
	case a.Waiting:
		return kapi.ErrWaiting
	case a.NotProvenDead, a.From == nil, a.To == nil:
		return kapi.ErrGivenUp
	}
	return &kapi.MoveError{From: *a.From, To: *a.To}
}

func (a *Answer) forbidden() error {
	switch {
	case a.Needs != 0:
		return NotAllowed(a.Needs)
	case a.Message != "":
		return fmt.Errorf("%w: %s", auth.ErrForbidden, a.Message)
	}
	return auth.ErrForbidden
}

// NotAllowed returns the auth.ErrForbidden for a client whose token lacks a permission. It names the
// permission as kapi token create --perms does.
func NotAllowed(needs auth.Permissions) error {
	return fmt.Errorf("%w: this needs a token with the permission %s", auth.ErrForbidden, needs)
}
