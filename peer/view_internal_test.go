package peer

import (
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// The view notices an action that waits for keys that nobody holds any more.
func TestStalled(t *testing.T) {
	v := newView(func(*store.Record) {}, func(store.Record) {})
	waiting := store.Record{Action: kapi.Action{ID: "w", Status: kapi.StatusPending}, Ticket: 1, Waits: []string{"x"}}
	v.load(store.Snapshot{Head: store.Head{Epoch: "e", Seq: 1}, Records: []store.Record{waiting}})
	if !rules.Stalled(v) {
		t.Error("not stalled: the waiting action would not get its keys after the transaction was rolled back")
	}
	granted := waiting
	granted.Seq, granted.Keys, granted.Waits = 2, granted.Waits, nil
	v.apply(store.Page{Head: store.Head{Epoch: "e", Seq: 2}, Records: []store.Record{granted}})
	if rules.Stalled(v) {
		t.Error("stalled, although the action has its keys")
	}
}
