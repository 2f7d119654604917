package rules

import (
	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A Tally is what a plan would do. It counts once the transaction is on disk.
type Tally struct {
	Starts  uint64
	Ends    [kapi.StatusCompleted + 1]uint64
	Refused []string // the keys
}

// Change notes a record's change; old is nil for a new one. It must see every change,
// those of one action in a batch too.
func (t *Tally) Change(old, now *store.Record) {
	switch {
	case old == nil:
		t.Starts++
	case old.Status != now.Status && !now.Status.Active():
		t.Ends[now.Status]++
		if old.Status.Active() && now.Status == kapi.StatusAborted { // it gave up waiting: 0 to 3 to 4
			t.Ends[kapi.StatusFailed]++
		}
	}
}
