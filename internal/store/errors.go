package store

import (
	"errors"
	"fmt"

	"github.com/kettubot/kapi"
)

// What a store answers to its peer, and users never see.
var (
	// ErrBehind: the feed was asked for since a seq below the purged one, so endings may be missing,
	// and the view must be reloaded.
	ErrBehind = errors.New("the feed no longer reaches back to that seq")
	// ErrKeyTaken: a write breaks the uniqueness of keys. Nothing of that transaction was kept.
	ErrKeyTaken = errors.New("a key is held already")
)

// A BusyError is what a store answers when a transaction that is still open claims keys, so that
// nobody can say yet whether they are held. Nothing was kept. It wraps ErrUnavailable.
type BusyError struct{ Keys []string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("%v: key %q is claimed by a transaction that has not ended", kapi.ErrUnavailable, e.Keys[0])
}

func (e *BusyError) Unwrap() error { return kapi.ErrUnavailable }
