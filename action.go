package kapi

import (
	"encoding/json"
	"fmt"
)

// An Action is the record of one ongoing operation, as kAPI's clients see it: kAPI's
// seven fields in kAPI's order, then kapi's own.
type Action struct {
	// ID is random (128 bits or more), URL-safe, never reused, and does not begin with a dash.
	ID string `json:"id"`
	// Title has 1 to 200 code points. It never changes.
	Title string `json:"title"`
	// CreatedAt is in milliseconds since 1970-01-01 UTC, by the clock of the peer that started the action. It never changes.
	CreatedAt int64  `json:"created_at"`
	Status    Status `json:"status"`
	// Description has at most 2,000 code points and may be empty. It never changes.
	Description string `json:"description"`
	// Progress is 0 to 1, nil while it is unknown.
	Progress *float64 `json:"progress,omitempty"`
	// State says what the operation is doing now, or why it failed, in at most 500 code points. It may be empty.
	State string `json:"state,omitempty"`

	// Seq is the number of the change in the store that produced this version of the action.
	Seq uint64 `json:"seq"`
	// Keys are the keys that the action holds now. It is empty once they were freed.
	Keys []string `json:"keys"`
	// UpdatedAt is when change Seq was made, in milliseconds since 1970-01-01 UTC.
	UpdatedAt int64 `json:"updated_at"`
	// StartedAt is when the action first ran, 0 if it has not run yet.
	StartedAt int64 `json:"started_at,omitempty"`
	// Runner is the process that does the work, nil if there is none yet.
	Runner *Runner `json:"runner,omitempty"`
	// CancelRequestedAt is when somebody asked the runner to stop, 0 if nobody did.
	CancelRequestedAt int64 `json:"cancel_requested_at,omitempty"`
	// ExitCode is the exit code of the command that the action wraps, nil until it has ended or if there is none.
	ExitCode *int `json:"exit_code,omitempty"`
	// Operation is the name of the definition that the action was started from, "" if there is none.
	Operation   string `json:"operation,omitempty"`
	StartedBy   string `json:"started_by,omitempty"`   // who started the operation, for people
	CancelledBy string `json:"cancelled_by,omitempty"` // who asked the runner to stop, for people
	// WaitsFor is what keeps a pending action from getting its keys, nil if nothing does.
	WaitsFor *WaitsFor `json:"waits_for,omitempty"`
	// NotProvenDead is true for an action that failed without proof that its work has ended. It keeps its
	// keys until that is proven or an admin dismisses it. It is still true in the update of its dismissal.
	NotProvenDead bool `json:"not_proven_dead,omitempty"`
	// Attempt is from 2 on how often the operation was begun, because it was taken over or tried again; 0 is once.
	Attempt int `json:"attempt,omitempty"`
	// NoCancel says why the operation can't be cancelled now, "" if it can.
	NoCancel string `json:"no_cancel,omitempty"`
	// PausedBy names who asked for a pause, "" if nobody did. The action is impacted once the operation pauses.
	PausedBy string `json:"paused_by,omitempty"`
}

// A WaitsFor is the first key that an action waits for, and the action that holds the key or is ahead in
// the queue for it. Action and Title are empty if a transaction claims the key. Operation is set instead of Key
// if the action waits for its turn because of Definition.Limit, or for a peer that offers the operation.
type WaitsFor struct {
	Key       string `json:"key,omitempty"`
	Operation string `json:"operation,omitempty"`
	Action    string `json:"action,omitempty"` // its id
	Title     string `json:"title,omitempty"`
}

// A Runner is the process that does the work of an action.
type Runner struct {
	// ID is new at every start of a process.
	ID   string `json:"id"`
	Host string `json:"host"`
	PID  int    `json:"pid"`
	// HeardAt is when the runner last gave a sign of life, in milliseconds since 1970-01-01 UTC. In lists and updates it
	// is as of the action's last change.
	HeardAt int64 `json:"heard_at"`
}

// wireAction has Action's fields without its methods.
type wireAction Action

// MarshalJSON encodes the wire form: kAPI's seven fields come first, and keys is never null.
func (a Action) MarshalJSON() ([]byte, error) {
	if a.Keys == nil {
		a.Keys = []string{}
	}
	return json.Marshal(wireAction(a))
}

// UnmarshalJSON decodes the wire form. Unknown fields are ignored, so that a newer
// peer may add some. It returns an *InvalidError if the status or the progress is out
// of range, or if id or title is missing.
func (a *Action) UnmarshalJSON(data []byte) error {
	var w wireAction
	if err := json.Unmarshal(data, &w); err != nil {
		return fmt.Errorf("decode action: %w", err)
	}
	switch {
	case w.ID == "":
		return &InvalidError{"id", "is missing"}
	case w.Title == "":
		return &InvalidError{"title", "is missing"}
	case !w.Status.Valid():
		return &InvalidError{"status", fmt.Sprintf("must be 0 to 5, not %d", int(w.Status))}
	case w.Progress != nil && !(*w.Progress >= 0 && *w.Progress <= 1):
		return &InvalidError{"progress", fmt.Sprintf("must be 0 to 1, not %v", *w.Progress)}
	}
	*a = Action(w)
	return nil
}
