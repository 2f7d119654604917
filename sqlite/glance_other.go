//go:build !linux

package sqlite

import (
	"github.com/kettubot/kapi/internal/store"
)

// An index is only available on Linux: elsewhere SQLite's own descriptors can't be found.
type index struct{}

func mapIndex(string) index { return index{} }

func noIndex() index { return index{} }

func (index) unmap() {}

func (index) mark() (store.Mark, bool) { return store.Mark{}, false }
