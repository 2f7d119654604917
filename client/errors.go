package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// ErrForbidden: the token is valid, but may not do this.
var ErrForbidden = errors.New("not allowed: actions are for admins only")

// An unavailableError is what keeps a request from its answer. It is a kapi.ErrUnavailable,
// without its words: those are about a store.
type unavailableError struct{ error }

func (e *unavailableError) Is(target error) bool { return target == kapi.ErrUnavailable }
func (e *unavailableError) Unwrap() error        { return e.error }

func unavailable(format string, args ...any) error {
	return &unavailableError{fmt.Errorf(format, args...)}
}

// unwrapURL takes off what net/http puts around an error: the address is told already.
func unwrapURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// A refused answer is one of status 300 and above.
type refused struct {
	Code    int
	Message string
	Report  string
	// Of code 20001.
	Action   *kapi.Action
	Key      string
	Circular bool
}

// refusal turns an answer into the error that a peer would give.
func (c *Client) refusal(resp *http.Response, data []byte) error {
	var body refused
	_ = json.Unmarshal(data, &body) // an answer that isn't kapi's says nothing
	if err := body.known(); err != nil {
		return err
	}
	switch {
	case resp.StatusCode >= 500 && body.Report != "":
		return unavailable("server %s: it answered %s (report %s)", c.base, resp.Status, body.Report)
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests:
		return unavailable("server %s: it answered %s", c.base, resp.Status)
	case body.Message != "":
		return errors.New(body.Message)
	}
	return fmt.Errorf("server %s: it answered %s: this is no kapi", c.base, resp.Status)
}

// known is the error that a code of kAPI's stands for, nil if it is none of the client's.
func (r *refused) known() error {
	switch r.Code {
	case 40006:
		return auth.ErrNoToken
	case 40002:
		return auth.ErrInvalidToken
	case 40007:
		return auth.ErrExpiredToken
	case 50002:
		return ErrForbidden
	case 50004:
		field, reason, _ := strings.Cut(strings.TrimPrefix(r.Message, "Bad body: "), " ")
		return &kapi.InvalidError{Field: field, Reason: reason}
	case 10015:
		return kapi.ErrUnknown
	case 20000:
		return kapi.ErrNotFailed
	case 20001:
		if r.Action != nil {
			return &kapi.HeldError{
				Key: r.Key, Holder: *r.Action, NotProvenDead: r.Action.NotProvenDead, Circular: r.Circular,
			}
		}
	case 20002:
		return kapi.ErrStaleFence
	case 20003:
		return move(r.Message)
	case 20004:
		return &kapi.NotCancellableError{Reason: strings.TrimPrefix(r.Message, "Can't be cancelled: ")}
	case 20006:
		return kapi.ErrOtherRequest
	}
	return nil
}

// move remakes the refusal of a report that comes too late, or asks for what can't be.
func move(message string) error {
	if strings.HasSuffix(message, kapi.ErrWaiting.Error()) {
		return kapi.ErrWaiting
	}
	for from := kapi.StatusPending; from <= kapi.StatusCompleted; from++ {
		for to := kapi.StatusPending; to <= kapi.StatusCompleted; to++ {
			if e := (&kapi.MoveError{From: from, To: to}); strings.HasSuffix(message, e.Error()) {
				return e
			}
		}
	}
	return kapi.ErrGivenUp
}
