package kapi

import "testing"

// Somebody who waits for a key that nobody holds any more is noticed.
func TestStalled(t *testing.T) {
	v := newView(func(*Record) {})
	waiting := Record{Action: Action{ID: "w", Status: StatusPending}, Ticket: 1, Waits: []string{"x"}}
	v.load(Snapshot{Head: Head{Epoch: "e", Seq: 1}, Records: []Record{waiting}})
	if !v.stalled() {
		t.Error("nobody would tell the waiter that the transaction was rolled back")
	}
	granted := waiting
	granted.Seq, granted.Keys, granted.Waits = 2, granted.Waits, nil
	v.apply(Page{Head: Head{Epoch: "e", Seq: 2}, Records: []Record{granted}})
	if v.stalled() {
		t.Error("stalled, although it has its keys")
	}
}
