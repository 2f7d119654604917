package peer

import (
	"sync"

	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/wire"
)

// An entry is one record in a view. It is never changed, only replaced.
type entry struct {
	store.Record

	once     sync.Once
	json     []byte // of the dispatch, which contains the action
	from, to int    // where the action is in json

	nth uint64 // its number among all entries ever added to the journal, from 1; 0 if it was not added
}

// dispatch returns the gateway's message about this entry. It is encoded once, for all watchers.
func (e *entry) dispatch() []byte {
	e.once.Do(func() {
		a := e.Shown()
		e.json, e.from, e.to = wire.Update(&a)
	})
	return e.json
}

// encode returns the JSON of the action as it is shown. It is encoded once.
func (e *entry) encode() []byte {
	data := e.dispatch()
	return data[e.from:e.to]
}
