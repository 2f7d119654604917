package wire

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// A Refusal is what a request is refused for, as the client is told.
type Refusal struct {
	Status  int    `json:"-"` // of HTTP
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *Refusal) Error() string { return e.Message }

// Because adds what exactly is wrong.
func (e *Refusal) Because(reason string) error {
	return &Refusal{e.Status, e.Code, e.Message + ": " + reason}
}

// The codes of errors (kAPI's document, "Error codes", and kapi's own).
const (
	codeUnknown      = 10015
	codeNotFailed    = 20000
	codeHeld         = 20001
	codeStaleFence   = 20002
	codeMove         = 20003
	codeNotCancelled = 20004
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

// What a server refuses by itself.
var (
	NoRoute     = &Refusal{http.StatusNotFound, 0, "No such route"}
	BadMethod   = &Refusal{http.StatusMethodNotAllowed, 0, "Method not allowed"}
	Unknown     = &Refusal{http.StatusNotFound, codeUnknown, "Unknown action"}
	CrossOrigin = &Refusal{http.StatusForbidden, codeForbidden, "Request from another origin refused"}
	BadLink     = &Refusal{http.StatusUnauthorized, codeInvalidToken, "Link not valid: it was used already, or is too old"}
	BadQuery    = &Refusal{http.StatusBadRequest, codeQuery, "Bad query"}
	BadBody     = &Refusal{http.StatusBadRequest, codeBody, "Bad body"}
	TooLarge    = &Refusal{http.StatusRequestEntityTooLarge, codeBody, "Bad body"}
	OnlyHTTP1   = &Refusal{http.StatusBadRequest, 0, "A connection to the gateway begins with HTTP/1.1"}
	BadType     = &Refusal{http.StatusUnsupportedMediaType, codeType, "Wrong content type"}
)

// WrongHost refuses a request for a host that the server doesn't answer for.
func WrongHost(host string) error {
	return (&Refusal{http.StatusMisdirectedRequest, codeHost, "Misdirected request"}).Because(
		fmt.Sprintf("this server doesn't answer for %.100q; name it with kapi serve --host (server.Options.Hosts in a program of your own)", host))
}

// refusals is the one table of errors that are no more than themselves. It is read both ways: a server
// finds what to answer, a client, by the code, what that was. Of two errors with one code the client
// is given the first.
var refusals = []struct {
	err error
	Refusal
}{
	{auth.ErrNoToken, Refusal{http.StatusUnauthorized, codeNoToken, "No token"}},
	{auth.ErrInvalidToken, Refusal{http.StatusUnauthorized, codeInvalidToken, "Token not valid"}},
	{auth.ErrUnknownToken, Refusal{http.StatusUnauthorized, codeInvalidToken, "Token not valid"}},
	{auth.ErrExpiredToken, Refusal{http.StatusUnauthorized, codeExpiredToken, "Token expired"}},
	{auth.ErrForbidden, Refusal{http.StatusForbidden, codeForbidden, "Actions are for admins only"}},
	{kapi.ErrUnknown, *Unknown},
	{kapi.ErrGivenUp, Refusal{http.StatusConflict, codeMove, "The action was given up for silence: only its end can still be reported"}},
	{kapi.ErrWaiting, Refusal{http.StatusConflict, codeMove, badMove + kapi.ErrWaiting.Error()}},
	{kapi.ErrStaleFence, Refusal{http.StatusConflict, codeStaleFence, "Stale fence: another runner holds the action"}},
	{kapi.ErrOtherRequest, Refusal{http.StatusConflict, codeOtherRequest, "The Idempotency-Key was used with another body"}},
	{kapi.ErrNotFailed, Refusal{http.StatusConflict, codeNotFailed, "Only failed actions can be dismissed"}},
}

// What stands before the text of an error that says more than its code.
const (
	badMove      = "Move not allowed: "
	unknownFence = "Unknown fence: "
	notCancelled = "Can't be cancelled: "
	badBody      = "Bad body: "
)

// Refused returns what the client is told if err is its fault, else nil. A *kapi.HeldError has more to
// it: see Held.
func Refused(err error) *Refusal {
	var own *Refusal
	if errors.As(err, &own) {
		return own
	}
	var no *kapi.NotCancellableError
	if errors.As(err, &no) {
		return &Refusal{http.StatusConflict, codeNotCancelled, notCancelled + no.Reason}
	}
	var fence *kapi.FenceError
	if errors.As(err, &fence) {
		return &Refusal{http.StatusConflict, codeStaleFence, unknownFence + fence.Error()}
	}
	var move *kapi.MoveError
	if errors.As(err, &move) {
		return &Refusal{http.StatusConflict, codeMove, badMove + move.Error()}
	}
	var invalid *kapi.InvalidError
	if errors.As(err, &invalid) {
		return &Refusal{http.StatusBadRequest, codeBody, badBody + invalid.Error()}
	}
	for i := range refusals {
		if errors.Is(err, refusals[i].err) {
			return &refusals[i].Refusal
		}
	}
	return nil
}

// A Held answers a start whose key is held. Its status is 409.
type Held struct {
	Code     int         `json:"code"`
	Message  string      `json:"message"`
	Action   kapi.Action `json:"action"`
	Key      string      `json:"key"`
	Circular bool        `json:"circular,omitempty"`
}

// HeldBy returns the answer to a start that was refused.
func HeldBy(e *kapi.HeldError) Held {
	return Held{codeHeld, e.Error(), e.Holder, e.Key, e.Circular}
}

// A HeldByAnother answers the same to who may know no more of another's action than this.
type HeldByAnother struct {
	Held
	Action Holder `json:"action"` // in the place of Held's
}

// A Holder is what everybody who may start actions learns of the one that holds a key.
type Holder struct {
	ID     string      `json:"id"`
	Title  string      `json:"title"`
	Status kapi.Status `json:"status"`
	Keys   []string    `json:"keys"`
	Runner *Runner     `json:"runner,omitempty"`
}

// A Runner is what is told of a Holder's.
type Runner struct {
	Host    string `json:"host"`
	HeardAt int64  `json:"heard_at"`
}

// HeldByOther returns the answer to a start that was refused for another's action.
func HeldByOther(e *kapi.HeldError) HeldByAnother {
	holder := Holder{ID: e.Holder.ID, Title: e.Holder.Title, Status: e.Holder.Status, Keys: append([]string{}, e.Holder.Keys...)}
	if r := e.Holder.Runner; r != nil {
		holder.Runner = &Runner{r.Host, r.HeardAt}
	}
	return HeldByAnother{HeldBy(e), holder}
}

// A Failure answers a request that could not be served. It names the incident under which the log says more.
type Failure struct {
	Message  string `json:"message"`
	Incident string `json:"report"` // the name that clients of kAPI know
}

// An Answer is any answer of status 300 and above, as a client reads it.
type Answer struct {
	Code     int
	Message  string
	Incident string `json:"report"`
	// RetryAfter is that of a Limited.
	RetryAfter float64 `json:"retry_after"`
	// Of what is held.
	Action   *kapi.Action
	Key      string
	Circular bool
}

// Err is the error that the code stands for, nil if it is none of the client's.
func (a *Answer) Err() error {
	switch a.Code {
	case codeBody:
		field, reason, _ := strings.Cut(strings.TrimPrefix(a.Message, badBody), " ")
		return &kapi.InvalidError{Field: field, Reason: reason}
	case codeHeld:
		if a.Action != nil {
			return &kapi.HeldError{Key: a.Key, Holder: *a.Action, Circular: a.Circular}
		}
	case codeMove:
		return a.move()
	case codeNotCancelled:
		return &kapi.NotCancellableError{Reason: strings.TrimPrefix(a.Message, notCancelled)}
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
	if strings.HasSuffix(a.Message, kapi.ErrWaiting.Error()) {
		return kapi.ErrWaiting
	}
	for from := kapi.StatusPending; from <= kapi.StatusCompleted; from++ {
		for to := kapi.StatusPending; to <= kapi.StatusCompleted; to++ {
			if e := (&kapi.MoveError{From: from, To: to}); strings.HasSuffix(a.Message, e.Error()) {
				return e
			}
		}
	}
	return kapi.ErrGivenUp
}
