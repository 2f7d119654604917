package kapi

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kettubot/kapi/internal/wellformed"
)

// A Spec says what to start.
type Spec struct {
	// Title has 1 to 200 code points.
	Title string
	// Description has at most 2,000 code points.
	Description string
	// Keys name what must not happen twice at once: up to 8, each 1 to 200 code points without control
	// characters or spaces. The action gets all or none. A key named twice counts once. Title,
	// description and keys must be valid UTF-8; the *InvalidError for others names the byte.
	Keys []string
	// ReleaseOnFailure frees the keys when the operation fails, for operations that are safe to
	// repeat. Keys are freed only when the work is known to have ended, never for silence alone.
	ReleaseOnFailure bool
	// DismissFailed dismisses failed actions that hold the keys, if their work is known to have ended (see
	// Handle.Dismissed). It happens in the transaction of the start; a refused start dismisses none. An action
	// that waits dismisses them once nothing else holds its keys, even with others ahead in the queue; a peer logs it.
	DismissFailed bool
	// Wait is how long the action may wait for its turn if one of its keys is held; negative is
	// without limit, 0 refuses the start. While it waits, the action is pending and holds no key. It
	// gets all its keys in the transaction that frees the last one, before any later start.
	Wait time.Duration
	// Within has the ids of the ongoing actions that this one is part of: those of the operations around its own, which
	// can't end before it does. A start that would wait for one of them, or behind an action that does, is refused at
	// once, whatever Wait is (HeldError.Circular). Ids of actions that are not ongoing are ignored.
	Within []string
	// Host is where the work is done, in at most 253 code points; "" is this machine. Only package client uses it.
	Host string
	// LeaveRunning is for an operation that runs a command with KAPI_ACTION in its environment. If this process dies, the
	// peer that finds processes of the command still running doesn't send them SIGTERM. The action stays impacted until
	// they have ended.
	LeaveRunning bool
}

// Validate returns s with its keys in normal form, or an *InvalidError.
func (s Spec) Validate() (Spec, error) {
	if err := checkText("title", s.Title, 1, wellformed.MaxTitle); err != nil {
		return s, err
	}
	if err := checkText("description", s.Description, 0, wellformed.MaxDescription); err != nil {
		return s, err
	}
	if err := checkText("host", s.Host, 0, wellformed.MaxHost); err != nil {
		return s, err
	}
	if strings.ContainsFunc(s.Host, unicode.IsControl) {
		return s, &InvalidError{"host", fmt.Sprintf("%q must not have control characters", s.Host)}
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
	if len(keys) > wellformed.MaxKeys {
		return s, &InvalidError{"keys", fmt.Sprintf("are %d, at most %d are allowed", len(keys), wellformed.MaxKeys)}
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
	if err := checkText("key", key, 1, wellformed.MaxKey); err != nil {
		return err
	}
	for _, r := range key {
		if unicode.IsControl(r) || unicode.IsSpace(r) {
			return &InvalidError{"key", fmt.Sprintf("%q must not have spaces or control characters", key)}
		}
	}
	return nil
}
