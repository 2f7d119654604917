package kapi

// A tally is what a plan would do. It counts once the transaction is on disk.
type tally struct {
	starts  uint64
	ends    [StatusCompleted + 1]uint64
	refused []string // the keys
}

// change notes a record's change; old is nil for a new one. It must see every change,
// those of one action in a batch too.
func (t *tally) change(old, now *Record) {
	switch {
	case old == nil:
		t.starts++
	case old.Status != now.Status && !now.Status.Active():
		t.ends[now.Status]++
		if old.Status.Active() && now.Status == StatusAborted { // it gave up waiting: 0 to 3 to 4
			t.ends[StatusFailed]++
		}
	}
}
