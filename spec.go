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
	// description and keys that are not valid UTF-8 are refused with an *InvalidError that names the byte.
	Keys []string
	// ReleaseOnFailure frees the keys when the operation fails, for operations that are safe to
	// repeat. Only when the work is known to have ended: never for silence alone.
	ReleaseOnFailure bool
	// DismissFailed dismisses, in the transaction of the start, failed actions that hold the same keys, if
	// their work is known to have ended (see Handle.Dismissed); none if the start is refused. One that waits
	// dismisses them when they are all that holds its keys, for those ahead of it too; a peer's log says so.
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
	// Host is where the work is done, for package client: at most 253 code points; "" is this machine.
	Host string
	// LeaveRunning is for an operation that runs a command with KAPI_ACTION in its
	// environment: if this process dies, what is left of the command is not asked to end
	// (SIGTERM) by the peer that finds it. Until it has ended the action goes on, impacted.
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
