package peer

import (
	"slices"
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
	if keys := rules.Stalled(v.Waiting(), v.Holder); !slices.Equal(keys, []string{"x"}) {
		t.Errorf("%q are stalled: the waiting action would not get its keys after the transaction was rolled back", keys)
	}
	granted := waiting
	granted.Seq, granted.Keys, granted.Waits = 2, granted.Waits, nil
	v.apply(store.Page{Head: store.Head{Epoch: "e", Seq: 2}, Records: []store.Record{granted}})
	if keys := rules.Stalled(v.Waiting(), v.Holder); len(keys) > 0 {
		t.Errorf("%q are stalled, although the action has its keys", keys)
	}
}
