package linear

import (
	"errors"
	"math"

	"github.com/kettubot/kapi"
)

// A line is what a peer's process tells on its standard output: that a call begins, before it
// does, and what it was answered, afterwards.
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
	// These are no calls of a peer.
	dies   kind = "dies"   // an action fails, for its runner was killed
	notRun kind = "notrun" // an action fails, for its runner does not know whether it started
	final  kind = "final"  // all that is stored, when all is over
)

// A call is what a peer is asked to do.
type call struct {
	Kind kind `json:"kind"`
	Lane int  `json:"lane,omitempty"`
	// Title names the action: it is known before the id is, and never used again.
	Title string `json:"title,omitempty"`
	// Keys, Release and Dismiss are the spec's of a start; Remote says that the action is not
	// run by the peer itself.
	Keys    []string `json:"keys,omitempty"`
	Release bool     `json:"release,omitempty"`
	Dismiss bool     `json:"dismiss,omitempty"`
	Remote  bool     `json:"remote,omitempty"`
	// The rest is what a report says; the end of an operation is one, too.
	Fence    uint64      `json:"fence,omitempty"`
	Status   kapi.Status `json:"status,omitempty"`
	State    *string     `json:"state,omitempty"`
	Progress *float64    `json:"progress,omitempty"`
	Reset    bool        `json:"reset,omitempty"`
	// Handle says that the report was made by the operation itself, through its handle, which
	// keeps what the store can't take and sends it later.
	Handle bool `json:"handle,omitempty"`
}

// An outcome is how a call went. An empty one is success.
type outcome string

const (
	fine        outcome = ""
	held        outcome = "held"
	stale       outcome = "stale fence"
	unknown     outcome = "unknown action"
	notFailed   outcome = "not failed"
	badMove     outcome = "bad move"
	unavailable outcome = "store not available" // and so nothing was changed
	uncertain   outcome = "uncertain"           // it may have happened, or may yet
	unexpected  outcome = "unexpected error"
)

// An answer is what a call returned.
type answer struct {
	Outcome outcome `json:"outcome,omitempty"`
	// Text is that of the error, for who reads the history.
	Text string `json:"text,omitempty"`
	// Key is the one that is held, of a refusal.
	Key string `json:"key,omitempty"`
	// Seen are the actions as the answer shows them: the one that the call was for, the holder
	// of the key, or all.
	Seen []sight `json:"seen,omitempty"`
}

// A sight is an action as somebody saw it.
type sight struct {
	Title    string      `json:"title"`
	Seq      uint64      `json:"seq"`
	Status   kapi.Status `json:"status"`
	State    string      `json:"state,omitempty"`
	Progress *float64    `json:"progress,omitempty"`
	Keys     []string    `json:"keys,omitempty"`
	// Fence is known to the final reading alone.
	Fence uint64 `json:"fence,omitempty"`
}

func seen(a kapi.Action) sight {
	return sight{Title: a.Title, Seq: a.Seq, Status: a.Status, State: a.State, Progress: a.Progress, Keys: a.Keys}
}

// answered says how a call went by its error, as the docs of kapi's errors have it.
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
	switch {
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
	case errors.Is(err, kapi.ErrOutcomeUnknown):
		a.Outcome = uncertain
	case errors.Is(err, kapi.ErrUnavailable):
		a.Outcome = unavailable
	default:
		a.Outcome = unexpected
	}
	return a
}

// forever is the time of what never returned.
const forever = math.MaxInt64

// keys are few, so that starts get in each other's way.
var keys = []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} // never changed
