package linear

import (
	"errors"
	"math"

	"github.com/kettubot/kapi"
)

// A line is what a peer's process writes to standard output: one before each call, and one with the
// answer after it.
type line struct {
	// N numbers the calls of a process.
	N int `json:"n"`
	// At is the time (see now).
	At     int64   `json:"at"`
	Call   *call   `json:"call,omitempty"`
	Answer *answer `json:"answer,omitempty"`
}

type kind string

const (
	start   kind = "start"
	report  kind = "report"
	end     kind = "end" // the operation of an action returns
	dismiss kind = "dismiss"
	get     kind = "get"
	list    kind = "list"
	// These are not calls of a peer:
	dies   kind = "dies"   // an action fails because its runner was killed
	notRun kind = "notrun" // an action fails because its runner doesn't know whether it started
	final  kind = "final"  // everything in the store at the end
	// The rest are of operations: see takeover_history_test.go.
)

// A call is what a peer does.
type call struct {
	Kind kind `json:"kind"`
	Lane int  `json:"lane,omitempty"`
	// Title identifies the action: it is known before the id, and never used again.
	Title string `json:"title,omitempty"`
	// Keys, Release and Dismiss are those of a start's Spec. Remote says that the peer doesn't run the
	// action itself.
	Keys    []string `json:"keys,omitempty"`
	Release bool     `json:"release,omitempty"`
	Dismiss bool     `json:"dismiss,omitempty"`
	Remote  bool     `json:"remote,omitempty"`
	// The rest is the content of a report; the end of an operation counts as one.
	Fence    uint64      `json:"fence,omitempty"`
	Status   kapi.Status `json:"status,omitempty"`
	State    *string     `json:"state,omitempty"`
	Progress *float64    `json:"progress,omitempty"`
	Reset    bool        `json:"reset,omitempty"`
	// Handle says that the operation reported through its handle, which keeps what the store can't take
	// and sends it later.
	Handle bool `json:"handle,omitempty"`
	runCall
}

// An outcome is how a call ended; "" is success.
type outcome string

const (
	fine        outcome = ""
	held        outcome = "held"
	stale       outcome = "stale fence"
	unknown     outcome = "unknown action"
	notFailed   outcome = "not failed"
	badMove     outcome = "bad move"
	notOffered  outcome = "not offered"         // so nothing was changed
	unavailable outcome = "store not available" // so nothing was changed
	uncertain   outcome = "uncertain"           // it may have happened, or may happen later
	stopped     outcome = "to stop"             // the run must stop, and nothing was changed
	unexpected  outcome = "unexpected error"
)

// An answer is what a call returned.
type answer struct {
	Outcome outcome `json:"outcome,omitempty"`
	// Text is the error's text, for people who read the history.
	Text string `json:"text,omitempty"`
	// Key is the held key, for a refusal.
	Key string `json:"key,omitempty"`
	// Seen are the actions in the answer: the one that the call was about, the holder of the key, or
	// all.
	Seen []sight `json:"seen,omitempty"`
	// Found is what Restore gave, nil if nothing was stored.
	Found *place `json:"found,omitempty"`
}

// A sight is an action as it was seen.
type sight struct {
	Title    string      `json:"title"`
	Seq      uint64      `json:"seq"`
	Status   kapi.Status `json:"status"`
	State    string      `json:"state,omitempty"`
	Progress *float64    `json:"progress,omitempty"`
	Keys     []string    `json:"keys,omitempty"`
	// ID, Runner and Attempt are those of an operation's action.
	ID      string `json:"id,omitempty"`
	Runner  string `json:"runner,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	// Fence and Saved are known from the final reading only.
	Fence uint64 `json:"fence,omitempty"`
	Saved *place `json:"saved,omitempty"`
}

func seen(a kapi.Action) sight {
	s := sight{Title: a.Title, Seq: a.Seq, Status: a.Status, State: a.State, Progress: a.Progress, Keys: a.Keys}
	if a.Operation == "" {
		return s
	}
	s.Title, s.ID, s.Attempt = a.StartedBy, a.ID, max(a.Attempt, 1) // all actions of an operation have one title
	if a.Runner != nil {
		s.Runner = a.Runner.ID
	}
	return s
}

// answered classifies a call's error, as the docs of kapi's errors define them.
func answered(err error, shown ...kapi.Action) *answer {
	a := &answer{}
	for _, action := range shown {
		a.Seen = append(a.Seen, seen(action))
	}
	if err == nil {
		return a
	}
	a.Seen, a.Text = nil, err.Error()
	var refused *kapi.HeldError
	var move *kapi.MoveError
	var absent *kapi.NotOfferedError
	var missing *kapi.UnknownOperationError
	switch {
	case errors.Is(err, kapi.ErrOutcomeUnknown):
		a.Outcome = uncertain
	case errors.As(err, &refused):
		a.Outcome, a.Key, a.Seen = held, refused.Key, []sight{seen(refused.Holder)}
	case errors.Is(err, kapi.ErrStaleFence):
		a.Outcome = stale
	case errors.Is(err, kapi.ErrUnknown):
		a.Outcome = unknown
	case errors.Is(err, kapi.ErrNotFailed):
		a.Outcome = notFailed
	case errors.As(err, &move):
		a.Outcome = badMove
	case errors.As(err, &absent), errors.As(err, &missing):
		a.Outcome = notOffered
	case errors.Is(err, kapi.ErrUnavailable):
		a.Outcome = unavailable
	case errors.Is(err, kapi.ErrLost), errors.Is(err, kapi.ErrStopped), errors.Is(err, kapi.ErrClosed):
		a.Outcome = stopped
	default:
		a.Outcome = unexpected
	}
	return a
}

// forever is the end of a call that never returned.
const forever = math.MaxInt64

// keys are few, so that starts compete for them.
var keys = []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} // never changed
