package store

import (
	"errors"
	"fmt"

	"github.com/kettubot/kapi"
)

// Errors of a store that only its peer handles; users never see them.
var (
	// ErrBehind is returned when the feed is asked for since a seq below the purged one: endings may be
	// missing, so the view must be reloaded.
	ErrBehind = errors.New("the feed no longer reaches back to that seq")
	// ErrKeyTaken is returned when a write breaks the uniqueness of keys. Nothing of the transaction
	// was kept.
	ErrKeyTaken = errors.New("a key is held already")
)

// A BusyError is returned when an open transaction claims some of the keys, so that it isn't known yet
// whether they are held. Nothing was kept. It wraps ErrUnavailable.
type BusyError struct{ Keys []string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("%v: key %q is claimed by a transaction that has not ended", kapi.ErrUnavailable, e.Keys[0])
}

func (e *BusyError) Unwrap() error { return kapi.ErrUnavailable }
