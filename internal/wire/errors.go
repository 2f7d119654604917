package wire

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// A Refusal is the reason why a request is refused, as it is sent to the client.
type Refusal struct {
	Status  int    `json:"-"` // of HTTP
	Code    int    `json:"code"`
	Message string `json:"message"` // for people
	Facts
}

// Facts are what a program needs to know about a refusal. Each belongs to one or two codes.
type Facts struct {
	// Field (50003, 50004) names what is wrong: a field of the body, a parameter of the query or a
	// header. It is "" if the whole body is wrong.
	Field string `json:"field,omitempty"`
	// Reason says what is wrong with Field, why the action can't be cancelled, paused or resumed (20004), or why the
	// operation's preflight refused the start (20005).
	Reason string `json:"reason,omitempty"`
	// From and To (20003) are the status of the action and the one that was reported. They are equal if
	// the action has failed and takes no more reports.
	From *kapi.Status `json:"from,omitempty"`
	To   *kapi.Status `json:"to,omitempty"`
	// Waiting (20003) marks kapi.ErrWaiting; other moves with the same From and To are never allowed.
	Waiting bool `json:"waiting,omitempty"`
	// NotProvenDead (20003) marks kapi.ErrGivenUp: the failed action still takes a report of its end.
	NotProvenDead bool `json:"not_proven_dead,omitempty"`
	// Fence (20002) is that of the report, if no runner of the action was ever given it.
	Fence *uint64 `json:"fence,omitempty"`
	// Needs (50002) is the permission that the token lacks.
	Needs auth.Permissions `json:"needs,omitempty"`
	// Operation (10016, 20001, 20005, 50004, and a Failure) is the name of the operation that was to be started.
	Operation string `json:"operation,omitempty"`
	// CancelledBy (10015) says that somebody cancelled the operation before it began, and who that was, if it is known.
	CancelledBy *string `json:"cancelled_by,omitempty"`
	// Operations (10016) are the names that there are, in alphabetical order.
	Operations []string `json:"operations,omitempty"`
	// Fields (50004) say what is wrong with the operation's arguments.
	Fields []kapi.FieldError `json:"fields,omitempty"`
}

func (e *Refusal) Error() string { return e.Message }

// With returns a copy of e that says what exactly is wrong: reason for people, facts for programs.
func (e *Refusal) With(reason string, facts Facts) error {
	return &Refusal{e.Status, e.Code, e.Message + ": " + reason, facts}
}

// Because is With without facts.
func (e *Refusal) Because(reason string) error { return e.With(reason, Facts{}) }

// About is With for a field.
func (e *Refusal) About(field, reason string) error {
	return e.With(field+" "+reason, Facts{Field: field, Reason: reason})
}

// plain returns a refusal without facts.
func plain(status, code int, message string) *Refusal {
	return &Refusal{Status: status, Code: code, Message: message}
}

// The error codes: those of kAPI's document, "Error codes", and kapi's own.
const (
	codeUnknown      = 10015
	codeNoOperation  = 10016
	codeNotFailed    = 20000
	codeHeld         = 20001
	codeStaleFence   = 20002
	codeMove         = 20003
	codeNotCancelled = 20004
	codePreflight    = 20005
	codeOtherRequest = 20006
	codeInvalidToken = 40002
	codeNoToken      = 40006
	codeExpiredToken = 40007
	codeForbidden    = 50002
	codeQuery        = 50003
	codeBody         = 50004
	codeType         = 50005
	codeHost         = 50006
)

// The refusals that don't stand for an error of another package.
var (
	NoRoute     = plain(http.StatusNotFound, 0, "No such route")
	BadMethod   = plain(http.StatusMethodNotAllowed, 0, "Method not allowed")
	Unknown     = plain(http.StatusNotFound, codeUnknown, "Unknown action")
	CrossOrigin = plain(http.StatusForbidden, codeForbidden, "Request from another origin refused")
	BadLink     = plain(http.StatusUnauthorized, codeInvalidToken, "Link not valid: it was used already, or is too old")
	BadQuery    = plain(http.StatusBadRequest, codeQuery, "Bad query")
	BadBody     = plain(http.StatusBadRequest, codeBody, "Bad body")
	TooLarge    = plain(http.StatusRequestEntityTooLarge, codeBody, "Bad body")
	OnlyHTTP1   = plain(http.StatusBadRequest, 0, "A connection to the gateway begins with HTTP/1.1")
	BadType     = plain(http.StatusUnsupportedMediaType, codeType, "Wrong content type")
)

// WrongHost returns the refusal of a request for a host that the server doesn't answer for.
func WrongHost(host string) error {
	return plain(http.StatusMisdirectedRequest, codeHost, "Misdirected request").Because(
		fmt.Sprintf("this server doesn't answer for %.100q; name it with kapi serve --host (server.Options.Hosts in a program of your own)", host))
}

// Forbidden returns the refusal of a request that needs a permission which the token lacks.
func Forbidden(needs auth.Permissions) error {
	name := strings.ToUpper(needs.String())
	switch needs {
	case auth.ReadMetrics:
		name = "READ_METRICS"
	case auth.RunActions:
		name = "RUN_ACTIONS"
	}
	return &Refusal{http.StatusForbidden, codeForbidden, "This needs the permission " + name, Facts{Needs: needs}}
}

// refusals is the one table of errors without facts of their own. A server looks up the refusal by the
// error, a client the error by the code. If two errors have the same code, the client gets the first.
var refusals = []struct {
	err error
	*Refusal
}{
	{auth.ErrNoToken, plain(http.StatusUnauthorized, codeNoToken, "No token")},
	{auth.ErrInvalidToken, plain(http.StatusUnauthorized, codeInvalidToken, "Token not valid")},
	{auth.ErrUnknownToken, plain(http.StatusUnauthorized, codeInvalidToken, "Token not valid")},
	{auth.ErrExpiredToken, plain(http.StatusUnauthorized, codeExpiredToken, "Token expired")},
	{auth.ErrForbidden, plain(http.StatusForbidden, codeForbidden, "Not allowed")},
	{kapi.ErrUnknown, Unknown},
	{kapi.ErrGivenUp, &Refusal{
		http.StatusConflict, codeMove, "The action was given up for silence: only its end can still be reported",
		Facts{From: new(kapi.StatusFailed), To: new(kapi.StatusFailed), NotProvenDead: true},
	}},
	{kapi.ErrWaiting, &Refusal{
		http.StatusConflict, codeMove, badMove + kapi.ErrWaiting.Error(),
		Facts{From: new(kapi.StatusPending), To: new(kapi.StatusRunning), Waiting: true},
	}},
	{kapi.ErrStaleFence, plain(http.StatusConflict, codeStaleFence, "Stale fence: another runner holds the action")},
	{kapi.ErrOtherRequest, plain(http.StatusConflict, codeOtherRequest, "The Idempotency-Key was used with another body")},
	{kapi.ErrNotFailed, plain(http.StatusConflict, codeNotFailed, "Only failed actions can be dismissed")},
}

// Prefixes of messages that end with the text of the error.
const (
	badMove      = "Move not allowed: "
	unknownFence = "Unknown fence: "
	notCancelled = "Can't be cancelled: "
	notPaused    = "Can't be paused or resumed: "
)

// Refused returns the refusal that err is answered with, or nil if err is not the client's fault. A
// *kapi.HeldError is answered with a Held instead, and a *kapi.NotOfferedError with a Failure.
func Refused(err error) *Refusal {
	var own *Refusal
	if errors.As(err, &own) {
		return own
	}
	if refusal := refusedOperation(err); refusal != nil {
		return refusal
	}
	var no *kapi.NotCancellableError
	if errors.As(err, &no) {
		return &Refusal{http.StatusConflict, codeNotCancelled, notCancelled + no.Reason, Facts{Reason: no.Reason}}
	}
	var fence *kapi.FenceError
	if errors.As(err, &fence) {
		return &Refusal{http.StatusConflict, codeStaleFence, unknownFence + fence.Error(), Facts{Fence: &fence.Fence}}
	}
	var move *kapi.MoveError
	if errors.As(err, &move) {
		return &Refusal{http.StatusConflict, codeMove, badMove + move.Error(), Facts{From: &move.From, To: &move.To}}
	}
	var invalid *kapi.InvalidError
	if errors.As(err, &invalid) {
		return invalidBody(invalid)
	}
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.Refusal
		}
	}
	return nil
}

// invalidBody names the field as in JSON: an error in one key is an error in "keys".
func invalidBody(e *kapi.InvalidError) *Refusal {
	field := e.Field
	if field == "key" {
		field = "keys"
	}
	return &Refusal{BadBody.Status, BadBody.Code, BadBody.Message + ": " + e.Error(), Facts{Field: field, Reason: e.Reason}}
}
