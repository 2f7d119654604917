package kapi

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"github.com/kettubot/kapi/internal/wellformed"
)

// A Definition declares an operation, so that it can be started by its name, from anywhere. Package operation makes
// one from a Go type. The functions may be called concurrently; arguments are a JSON object, "{}" if there are none.
type Definition struct {
	// Name has 1 to 64 characters: lower-case letters, digits, '-' and '.', beginning with a letter.
	Name string
	// Title and Description are those of its actions (see Spec).
	Title, Description string
	// Schema is the JSON Schema (draft 2020-12) of the arguments; nil if it takes none.
	Schema json.RawMessage
	// Version is the version of the form of its checkpoints, 0 or more. Reads is the oldest version that Run can
	// still read, at most Version. An action with checkpoints of any other version is left to other runners.
	Version, Reads int
	// Limit is how many of its actions may work at once, at most 1,000; 0 is no limit. A failed action counts only
	// while it is not known that its work has ended.
	Limit int
	// Resume, unless nil, lets another runner continue an action whose runner has died.
	Resume *Resume
	// Retry says how often Run is called again after an error.
	Retry Retry
	// Check returns the arguments with defaults, or what is wrong with each of them. It is nil if Schema is.
	Check func(arguments json.RawMessage) (json.RawMessage, []FieldError)
	// Keys returns the keys that an action with these arguments needs; nil is none (see Spec.Keys).
	Keys func(arguments json.RawMessage) ([]string, error)
	// Preflight, unless nil, is called before an action begins, and refuses it with an error. It is not called for a
	// continuation (StartOptions.Continue), as it may refuse what the failed action has left half done.
	Preflight func(ctx context.Context, arguments json.RawMessage) (Preview, error)
	// Run does the work, or continues it (see OperationHandle.Restore).
	Run func(ctx context.Context, h OperationHandle, arguments json.RawMessage) error
	// Flaw, unless nil, says why there can be no such operation. It is set by functions that make definitions.
	Flaw error
}

// Resume says how an action is continued after its runner has died.
type Resume struct {
	// Within is for how long another runner is waited for; 0 is 10 minutes.
	Within time.Duration
	// Takeovers is how many runners may die without a new checkpoint until the action fails; 0 is 3.
	Takeovers int
}

// Retry says how often an operation is tried again after an error. Attempts are counted anew from each checkpoint.
type Retry struct {
	// Attempts is how often it is tried in all; 0 and 1 are once.
	Attempts int
	// First and Most are the shortest and the longest pause before the next attempt; 0 is 1 s and 1 min. Pauses double,
	// and vary by a random part.
	First, Most time.Duration
}

// A Preview says what an operation would do.
type Preview struct {
	// Lines are for people, at most 1,000.
	Lines []string `json:"lines"`
}

// StartOptions are for the start of an operation by its name.
type StartOptions struct {
	// By names who starts it, for people, in at most 200 code points.
	By string
	// Wait is how long it may wait for its keys, and for its turn if the operation has a Limit: see Spec.Wait.
	Wait time.Duration
	// Continue is the id of a failed action of the same operation, or "". The new action takes over its arguments,
	// checkpoints and keys, and dismisses it, in one transaction. Other arguments must not be given, and Preflight is
	// not called again.
	Continue string
	// Preview asks what the operation would do. Nothing is started, and only a peer that offers it can answer.
	Preview bool
	// IdempotencyKey, unless "", makes a repeated start with the same By and arguments return the first one's action.
	IdempotencyKey string
}

// A Started says what a start did. Action is pending if the operation waits for its turn, or if no peer has taken
// it on yet. Preview is set instead if a preview was asked for.
type Started struct {
	Action  Action   `json:"action"`
	Preview *Preview `json:"preview,omitempty"`
}

// An Offer is what is known of an operation in a whole store.
type Offer struct {
	Name        string          `json:"name"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema,omitempty"` // of its arguments; nil if it takes none
	Resumable   bool            `json:"resumable"`
	Limit       int             `json:"limit,omitempty"` // 0 is no limit
	// Offered is true if a live peer offers it, false if one did in the last 30 days.
	Offered bool `json:"offered"`
}

// A FieldError says what is wrong with a field of the arguments, for example with "nodes[2].host".
type FieldError struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

func (e FieldError) Error() string {
	if e.Field == "" {
		return "the arguments: " + e.Reason
	}
	return e.Field + ": " + e.Reason
}

// An OperationHandle is the Handle of a defined operation.
type OperationHandle interface {
	Handle
	// Checkpoint stores v, encoded as JSON in at most 256 KiB, in place of the last one. When it returns nil, v is
	// on disk. The error is ErrStaleFence if another runner has the action. If it wraps ErrOutcomeUnknown, v may be on
	// disk.
	Checkpoint(v any) error
	// Restore decodes the last checkpoint into v. It is false if there is none, and an error if the checkpoint
	// doesn't fit v: an unknown field counts.
	Restore(v any) (bool, error)
	// Save and Load do the same for a checkpoint that has a name of 1 to 100 characters, beside the others: all of an
	// action's may have 4 MiB together, with their names. Save(name, nil) deletes it.
	Save(name string, v any) error
	Load(name string, v any) (bool, error)
	// Origin is the id of the first action, of which this one is the continuation (see StartOptions.Continue), or its
	// own. It is the same in every attempt, so that ids that are derived from it let outside systems recognise
	// repetition.
	Origin() string
	// Attempt counts the runs of this action: 1 is the first.
	Attempt() int
	// Proceed is to be called before each effect outside of the process. It returns once the effect is allowed: while
	// the action is paused it waits, and it returns an error if the work must stop: ErrLost, or the cause of the end of
	// ctx. After a cancel, context.WithoutCancel(ctx) lets the operation finish what it has in hand.
	Proceed(ctx context.Context) error
	// NoCancel refuses cancels from now on, with the reason, until it is called with "" or this runner is gone.
	NoCancel(reason string) error
}

var operationName = regexp.MustCompile(`^[a-z][a-z0-9.-]{0,63}$`)

// Validate returns an *InvalidError, which names the operation, if there can be none like this.
func (d *Definition) Validate() error {
	flaw := func(format string, args ...any) error {
		return &InvalidError{fmt.Sprintf("operation %q", d.Name), fmt.Sprintf(format, args...)}
	}
	switch {
	case !operationName.MatchString(d.Name):
		return flaw("needs a name of 1 to 64 lower-case letters, digits, '-' and '.', that begins with a letter")
	case d.Flaw != nil:
		return flaw("is wrong: %v", d.Flaw)
	case d.Run == nil:
		return flaw("has no Run")
	case (d.Schema == nil) != (d.Check == nil):
		return flaw("must have both a Schema and a Check of its arguments, or neither")
	case d.Schema != nil && !json.Valid(d.Schema):
		return flaw("has a Schema that is not JSON")
	case d.Version < 0, d.Reads < 0, d.Reads > d.Version:
		return flaw("must have a Version of 0 or more, and read versions from 0 to that one")
	case d.Limit > wellformed.MaxLimit:
		return flaw("must have a Limit of at most %d", wellformed.MaxLimit)
	case d.Limit < 0, d.Retry.Attempts < 0, d.Retry.First < 0, d.Retry.Most < 0:
		return flaw("must not have a negative number")
	case d.Resume != nil && (d.Resume.Within < 0 || d.Resume.Takeovers < 0):
		return flaw("must not have a negative number in Resume")
	}
	for _, err := range []error{
		checkText("title", d.Title, 1, wellformed.MaxTitle), checkText("description", d.Description, 0, wellformed.MaxDescription),
	} {
		if err != nil {
			return flaw("is wrong: %v", err)
		}
	}
	return nil
}
