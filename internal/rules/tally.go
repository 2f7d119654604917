package rules

import (
	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A Tally counts what a plan would do. It takes effect once the transaction is on disk.
type Tally struct {
	Starts  uint64
	Ends    [kapi.StatusCompleted + 1]uint64
	Refused []string // the keys, or the operations that are at their limits
}

// Change counts the change of a record; old is nil for a new one. It must be called for every change,
// even if a batch changes the same action several times.
func (t *Tally) Change(old, now *store.Record) {
	switch {
	case old == nil:
		t.Starts++
	case old.Status != now.Status && !now.Status.Active():
		t.Ends[now.Status]++
		if old.Status.Active() && now.Status == kapi.StatusAborted { // a withdrawn action: 0 to 3 to 4 at once
			t.Ends[kapi.StatusFailed]++
		}
	}
}
