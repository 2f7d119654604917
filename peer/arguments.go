package peer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/wellformed"
)

// What a start of an operation is given, checked before anything is written.

const (
	maxBy             = 200 // code points
	maxIdempotencyKey = 255 // bytes
	maxWrongFields    = 100
	maxPreviewLines   = 1000
)

// checkOptions returns an *InvalidError if the options can't be right for any operation.
func checkOptions(arguments json.RawMessage, o *kapi.StartOptions) error {
	for field, text := range map[string]string{"by": o.By, "idempotency key": o.IdempotencyKey} {
		if flaw := wellformed.Text(text); flaw != "" {
			return &kapi.InvalidError{Field: field, Reason: flaw}
		}
		if strings.ContainsFunc(text, unicode.IsControl) {
			return &kapi.InvalidError{Field: field, Reason: fmt.Sprintf("%q must not have control characters", text)}
		}
	}
	switch {
	case utf8.RuneCountInString(o.By) > maxBy:
		return &kapi.InvalidError{Field: "by", Reason: fmt.Sprintf("has more than %d characters", maxBy)}
	case len(o.IdempotencyKey) > maxIdempotencyKey:
		return &kapi.InvalidError{Field: "idempotency key", Reason: fmt.Sprintf("has more than %d bytes", maxIdempotencyKey)}
	case o.Continue != "" && !findable(o.Continue):
		return kapi.ErrUnknown
	case o.Continue != "" && o.Preview:
		return &kapi.InvalidError{Field: "preview", Reason: "is not possible together with continue"}
	case o.Continue != "" && string(arguments) != noArguments:
		return &kapi.InvalidError{Field: "arguments", Reason: "must not be given with continue, which takes over those of the failed action"}
	}
	return nil
}

// plainArguments returns the arguments without white space. The error is an *ArgumentsError if they can't be those of
// any operation.
func plainArguments(name string, arguments json.RawMessage) (json.RawMessage, error) {
	wrong := func(format string, args ...any) error {
		return &kapi.ArgumentsError{Operation: name, Fields: []kapi.FieldError{{Reason: fmt.Sprintf(format, args...)}}}
	}
	given := bytes.TrimSpace(arguments)
	if text := string(given); text == "" || text == "null" || text == noArguments {
		return json.RawMessage(noArguments), nil
	}
	if len(given) > wellformed.MaxArguments {
		return nil, wrong("have %d bytes, at most %d are allowed", len(given), wellformed.MaxArguments)
	}
	var plain bytes.Buffer
	if err := json.Compact(&plain, given); err != nil {
		return nil, wrong("must be JSON: %v", err)
	}
	if plain.Bytes()[0] != '{' {
		return nil, wrong("must be a JSON object")
	}
	if flaw := wellformed.JSON(plain.Bytes()); flaw != "" {
		return nil, wrong("have a text that %s", flaw)
	}
	return plain.Bytes(), nil
}

// The functions of a definition are the embedding program's. guard calls one of them. If it panics, that is no fault of
// the caller's, so the error is none of those that say what is wrong with a start.
func guard(log *slog.Logger, name, what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			log.Error("a function of an operation panicked", "operation", name, "function", what, "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("operation %q can't be started: its %s panicked", name, what)
		}
	}()
	return f()
}

// checkArguments returns the arguments with their defaults, and the keys that an action with them needs. The error is
// an *ArgumentsError, an *InvalidError, or that of a function that panicked.
func checkArguments(log *slog.Logger, d *kapi.Definition, arguments json.RawMessage) (checked json.RawMessage, keys []string, err error) {
	checked = arguments
	err = guard(log, d.Name, "Check", func() error {
		wrong := []kapi.FieldError(nil)
		if d.Check != nil {
			checked, wrong = d.Check(arguments)
		} else {
			wrong = takesNone(arguments)
		}
		if len(wrong) > 0 {
			return &kapi.ArgumentsError{Operation: d.Name, Fields: wrong[:min(len(wrong), maxWrongFields)]}
		}
		return nil
	})
	if err != nil || d.Keys == nil {
		return checked, nil, err
	}
	err = guard(log, d.Name, "Keys", func() (err error) {
		if keys, err = d.Keys(checked); err != nil {
			return &kapi.InvalidError{Field: "keys", Reason: "can't be told: " + err.Error()}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	spec, err := kapi.Spec{Title: d.Title, Keys: keys}.Validate()
	return checked, spec.Keys, err
}

// takesNone returns what is wrong with arguments of an operation that takes none.
func takesNone(arguments json.RawMessage) (wrong []kapi.FieldError) {
	if string(arguments) == noArguments { // most starts of such operations
		return nil
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(arguments, &given); err != nil {
		return []kapi.FieldError{{Reason: "must be a JSON object"}}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		wrong = append(wrong, kapi.FieldError{Field: name, Reason: "is unknown: the operation takes no arguments"})
	}
	return wrong
}
