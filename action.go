package kapi

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kettubot/kapi/internal/wellformed"
)

// Limits of an action's texts, in code points.
const (
	maxTitle       = 200
	maxDescription = 2000
	maxState       = 500
	maxKey         = 200
	maxKeys        = 8
)

// An Action is the record of one operation that is going on, as kAPI's clients see
// it: kAPI's seven fields in kAPI's order, then kapi's own.
type Action struct {
	// ID is random (at least 128 bits), URL-safe, never reused, and does not begin
	// with a dash.
	ID string `json:"id"`
	// Title has 1 to 200 code points. It never changes.
	Title string `json:"title"`
	// CreatedAt is in milliseconds since 1970-01-01 UTC, by the wall clock of the
	// peer that started the action. It never changes.
	CreatedAt int64  `json:"created_at"`
	Status    Status `json:"status"`
	// Description has at most 2,000 code points and may be empty. It never changes.
	Description string `json:"description"`
	// Progress is 0 to 1, nil while it is unknown.
	Progress *float64 `json:"progress,omitempty"`
	// State says what the operation is doing now, or why it failed: at most 500
	// code points, empty while there is nothing to say.
	State string `json:"state,omitempty"`

	// Seq is the number of the store's change that made the action what it is here.
	Seq uint64 `json:"seq"`
	// Keys are those that the action holds now: none once they were freed.
	Keys []string `json:"keys"`
	// UpdatedAt is when change Seq was made, in milliseconds since 1970-01-01 UTC.
	UpdatedAt int64 `json:"updated_at"`
	// StartedAt is when the action first ran, 0 if it has not.
	StartedAt int64 `json:"started_at,omitempty"`
	// Runner is the process that does the work, nil if there is none yet.
	Runner *Runner `json:"runner,omitempty"`
	// CancelRequestedAt is when somebody asked the runner to stop, 0 if nobody did.
	CancelRequestedAt int64 `json:"cancel_requested_at,omitempty"`
	// ExitCode is that of the command an action wraps, nil before it ended and for
	// actions that wrap none.
	ExitCode *int `json:"exit_code,omitempty"`
	// NotProvenDead is true for a failed action whose work may still be going on: it was failed
	// for silence, or given up, or outlived its peer. It keeps its keys until an admin dismisses
	// it (the last update says it once more), or until its work is proven to have ended.
	NotProvenDead bool `json:"not_proven_dead,omitempty"`
}

// A Runner is the process that does the work of an action.
type Runner struct {
	// ID is new at every start of a process.
	ID   string `json:"id"`
	Host string `json:"host"`
	PID  int    `json:"pid"`
	// HeardAt is when the runner last gave a sign of life, in milliseconds since
	// 1970-01-01 UTC. In lists and updates it is as of the action's last change.
	HeardAt int64 `json:"heard_at"`
}

// wireAction has Action's fields without its methods.
type wireAction Action

// MarshalJSON encodes the wire form: kAPI's seven fields first, keys never null.
func (a Action) MarshalJSON() ([]byte, error) {
	if a.Keys == nil {
		a.Keys = []string{}
	}
	return json.Marshal(wireAction(a))
}

// UnmarshalJSON decodes the wire form. Unknown fields are ignored, so that a newer
// peer may add some; a status or a progress out of range, or an action without id
// or title, is refused with an *InvalidError.
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

// A Spec says what to start.
type Spec struct {
	// Title has 1 to 200 code points.
	Title string
	// Description has at most 2,000 code points.
	Description string
	// Keys name what must not happen twice at once: up to 8, each 1 to 200 code
	// points without control characters or spaces. The action gets all or none.
	// A key named twice counts once. Title, description and keys that are not valid
	// UTF-8 are refused with an *InvalidError that names the byte.
	Keys []string
	// ReleaseOnFailure frees the keys when the operation fails, for operations that
	// are safe to repeat. Only when the work is known to have ended: never for
	// silence alone.
	ReleaseOnFailure bool
	// DismissFailed dismisses, in the transaction of the start, failed actions that
	// hold the same keys, if their work is known to have ended
	// (see Handle.Dismissed). None is dismissed if the start is refused. One that waits
	// dismisses them when they are all that holds its keys, for those ahead of it too; the
	// log of the peer that does it says so.
	DismissFailed bool
	// Wait lets the action wait its turn if one of its keys is held: it is pending then, holds
	// nothing, and gets all its keys in the transaction that frees them, before whoever comes
	// later. It is how long at most, and negative for as long as it takes. 0 refuses the start.
	Wait time.Duration
	// Within names the ongoing actions that this one is part of, which don't end before it does:
	// those of the operations around its own. A start that would wait for one of them, or behind
	// somebody who does, is refused at once, whatever Wait says (HeldError.Circular). What is not
	// ongoing counts for nothing.
	Within []string
	// LeaveRunning is for an operation that runs a command with KAPI_ACTION in its
	// environment: if this process dies, what is left of the command is not asked to end
	// (SIGTERM) by the peer that finds it. Until it has ended the action goes on, impacted.
	LeaveRunning bool
}

// validate returns s with its keys in normal form, or an *InvalidError.
func (s Spec) validate() (Spec, error) {
	if err := checkText("title", s.Title, 1, maxTitle); err != nil {
		return s, err
	}
	if err := checkText("description", s.Description, 0, maxDescription); err != nil {
		return s, err
	}
	keys := make([]string, 0, len(s.Keys))
	for _, key := range s.Keys {
		if err := checkKey(key); err != nil {
			return s, err
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	if len(keys) > maxKeys {
		return s, &InvalidError{"keys", fmt.Sprintf("are %d, at most %d are allowed", len(keys), maxKeys)}
	}
	s.Keys = keys
	return s, nil
}

func checkText(field, text string, minimum, maximum int) error {
	if flaw := wellformed.Text(text); flaw != "" {
		return &InvalidError{field, flaw}
	}
	if strings.ContainsRune(text, 0) {
		return &InvalidError{field, "has a NUL character"}
	}
	switch n := utf8.RuneCountInString(text); {
	case n < minimum:
		return &InvalidError{field, "must not be empty"}
	case n > maximum:
		return &InvalidError{field, fmt.Sprintf("has %d characters, at most %d are allowed", n, maximum)}
	}
	return nil
}

func checkKey(key string) error {
	if err := checkText("key", key, 1, maxKey); err != nil {
		return err
	}
	for _, r := range key {
		if unicode.IsControl(r) || unicode.IsSpace(r) {
			return &InvalidError{"key", fmt.Sprintf("%q must not have spaces or control characters", key)}
		}
	}
	return nil
}

// cutState makes any text fit for a state: valid UTF-8 without NULs, cut to 500
// code points (the last one an ellipsis if something was cut).
func cutState(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if len(text) <= maxState || utf8.RuneCountInString(text) <= maxState {
		return text
	}
	n := 0
	for i := range text {
		if n == maxState-1 {
			return text[:i] + "…"
		}
		n++
	}
	return text
}

// clampProgress brings a report into 0 to 1; ok is false for NaN, which says nothing.
func clampProgress(p float64) (clamped float64, ok bool) {
	if math.IsNaN(p) {
		return 0, false
	}
	return min(max(p, 0), 1), true
}
