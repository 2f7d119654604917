//go:build !linux

package sqlite

import "github.com/kettubot/kapi"

// An index is only had on Linux: elsewhere SQLite's own descriptors can't be found.
type index struct{}

func mapIndex(string) index { return index{} }

func noIndex() index { return index{} }

func (index) unmap() {}

func (index) mark() (kapi.Mark, bool) { return kapi.Mark{}, false }
