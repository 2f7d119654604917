package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"sync/atomic"

	"github.com/kettubot/kapi"
)

// A definedForm is the form in which a store keeps what only the actions of defined operations have. WaitsFor.Operation
// is not in it, because it is always the action's own operation, nor is an Origin that is the action's own id.
type definedForm struct {
	Operation string `json:"operation"`
	StartedBy string `json:"started_by,omitempty"`
	Attempt   int    `json:"attempt,omitempty"`
	NoCancel  string `json:"no_cancel,omitempty"`
	PausedBy  string `json:"paused_by,omitempty"`
	Defined
}

// definedFormOf returns the form of a record of a defined operation.
func definedFormOf(r *Record) definedForm {
	form := definedForm{r.Operation, r.StartedBy, r.Attempt, r.NoCancel, r.PausedBy, *r.Defined}
	if form.Origin == r.ID {
		form.Origin = ""
	}
	return form
}

func (d *definedForm) fill(r *Record) {
	if d == nil {
		return
	}
	r.Operation, r.StartedBy, r.Attempt, r.NoCancel, r.PausedBy = d.Operation, d.StartedBy, d.Attempt, d.NoCancel, d.PausedBy
	r.Defined = &d.Defined
	r.Defined.Origin = cmp.Or(d.Origin, r.ID)
	if w := r.WaitsFor; w != nil && w.Key == "" {
		r.WaitsFor = &kapi.WaitsFor{Operation: r.Operation, Action: w.Action, Title: w.Title}
	}
}

// EncodeDefined returns what a store keeps of r in one column, besides the columns that it has for every action: JSON
// with r.Defined, Operation, StartedBy, Attempt, NoCancel and PausedBy. It is "" if r.Defined is nil.
func EncodeDefined(r *Record) string {
	if r.Defined == nil {
		return ""
	}
	form := definedFormOf(r)
	if form.Refusal != nil || form.Last != nil {
		return encode(form)
	}
	latest := encoded.Load()
	if latest == nil || latest.form != form {
		latest = &encoding{form, encode(form)}
		encoded.Store(latest)
	}
	return latest.text
}

func encode(form definedForm) string {
	text, err := json.Marshal(form)
	if err != nil {
		panic(err) // every field can be encoded
	}
	return string(text)
}

// An encoding is a form, which refers to nothing, with its JSON. Most actions of an operation have the same, so the
// latest is kept.
type encoding struct {
	form definedForm
	text string
}

var encoded atomic.Pointer[encoding]

// DecodeDefined sets in r what EncodeDefined has returned, and the Operation of r.WaitsFor, which must be set before if
// there is one. The error wraps kapi.ErrUnavailable.
func DecodeDefined(text string, r *Record) error {
	if text == "" {
		return nil
	}
	var form *definedForm
	if err := json.Unmarshal([]byte(text), &form); err != nil {
		return fmt.Errorf("%w: can't read what is defined of action %s: %w", kapi.ErrUnavailable, r.ID, err)
	}
	form.fill(r)
	return nil
}
