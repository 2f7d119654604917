package peer

import (
	"sync"

	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/wire"
)

// An entry is one record. It is replaced, never changed.
type entry struct {
	store.Record

	once     sync.Once
	json     []byte // of the dispatch; the action is a part of it
	from, to int    // where that stands

	nth uint64 // among all that the journal was ever given, from 1; 0 if it was not
}

// dispatch returns the message that tells of this entry, made once for all.
func (e *entry) dispatch() []byte {
	e.once.Do(func() {
		a := e.Shown()
		e.json, e.from, e.to = wire.Update(&a)
	})
	return e.json
}

// encode returns the JSON of what is shown, made once.
func (e *entry) encode() []byte {
	data := e.dispatch()
	return data[e.from:e.to]
}
