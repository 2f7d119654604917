package wire

import (
	"cmp"
	"fmt"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// An Answer is any answer of status 300 and above, as a client reads it.
type Answer struct {
	Code     int
	Message  string
	Incident string `json:"report"`
	Facts
	// RetryAfter is that of a Limited.
	RetryAfter float64 `json:"retry_after"`
	// Of what is held.
	Action   *kapi.Action
	Key      string
	Circular bool
}

// Err is the error that the code and its facts stand for, nil if it is none of the client's. The message
// is passed on at most.
func (a *Answer) Err() error {
	switch a.Code {
	case codeBody:
		if a.Field == "" {
			return &kapi.InvalidError{Reason: cmp.Or(a.Message, BadBody.Message)}
		}
		return &kapi.InvalidError{Field: a.Field, Reason: a.Reason}
	case codeHeld:
		if a.Action != nil {
			return &kapi.HeldError{Key: a.Key, Holder: *a.Action, Circular: a.Circular}
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
	}
	for _, r := range refusals {
		if r.Code == a.Code {
			return r.err
		}
	}
	return nil
}

// move remakes the refusal of a report that comes too late, or asks for what can't be.
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

// NotAllowed is the auth.ErrForbidden of a client that is refused for want of a permission. It has the
// name by which kapi token create knows that.
func NotAllowed(needs auth.Permissions) error {
	return fmt.Errorf("%w: this needs a token with the permission %s", auth.ErrForbidden, needs)
}
