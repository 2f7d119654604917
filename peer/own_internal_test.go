package peer

import (
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// Once the view is a full one, a snapshot of the peer's own actions that was read before is ignored.
// Otherwise the head would skip the changes that the feed has in between.
func TestFullViewGoesByTheFeed(t *testing.T) {
	v := newView(func(*store.Record) {}, func(store.Record) {})
	v.own = "r"
	v.loadOwn(store.Snapshot{Head: store.Head{Epoch: "e", Seq: 1}})
	late := store.Snapshot{Head: store.Head{Epoch: "e", Seq: 9}}
	v.load(store.Snapshot{Head: store.Head{Epoch: "e", Seq: 5}})
	if !v.meet(nil, late) || v.at().Seq != 5 {
		t.Errorf("the head is %d, want 5", v.at().Seq)
	}
	v.applyOwn(late.Head, nil)
	if v.at().Seq != 5 {
		t.Errorf("the head is %d, want 5", v.at().Seq)
	}
}

// An action that was started after the ids of a snapshot were collected, and committed before it was read,
// is not lost. One that was looked up and is missing is.
func TestSnapshotWithoutNewAction(t *testing.T) {
	var lost []string
	v := newView(func(r *store.Record) {
		if r.Status == kapi.StatusAborted {
			lost = append(lost, r.ID)
		}
	}, func(store.Record) {})
	v.own = "r"
	v.loadOwn(store.Snapshot{Head: store.Head{Epoch: "e", Seq: 1}})
	record := func(id string, seq uint64) store.Record {
		return store.Record{Action: kapi.Action{ID: id, Seq: seq, Status: kapi.StatusRunning, Runner: &kapi.Runner{ID: "r"}}}
	}
	old, young := record("old", 2), record("young", 3)
	head := store.Head{Epoch: "e", Seq: 3}
	v.applyOwn(head, []store.Record{old, young})
	v.meet([]string{"old"}, store.Snapshot{Head: head, Records: []store.Record{old}})
	if _, ok := v.Get("young"); !ok || len(lost) > 0 {
		t.Errorf("%q are lost", lost)
	}
	v.meet([]string{"old", "young"}, store.Snapshot{Head: head, Records: []store.Record{young}})
	if _, ok := v.Get("old"); ok || len(lost) != 1 || lost[0] != "old" {
		t.Errorf("%q are lost, want old", lost)
	}
}

// An action that ended while a snapshot was read is not put back into the view.
func TestSnapshotWithEndedAction(t *testing.T) {
	v := newView(func(*store.Record) {}, func(store.Record) {})
	v.own = "r"
	v.loadOwn(store.Snapshot{Head: store.Head{Epoch: "e", Seq: 1}})
	running := store.Record{Action: kapi.Action{ID: "a", Seq: 2, Status: kapi.StatusRunning, Runner: &kapi.Runner{ID: "r"}}}
	before := store.Snapshot{Head: store.Head{Epoch: "e", Seq: 2}, Records: []store.Record{running}}
	ended := running
	ended.Seq, ended.Status = 3, kapi.StatusCompleted
	v.applyOwn(before.Head, before.Records)
	v.applyOwn(store.Head{Epoch: "e", Seq: 3}, []store.Record{ended})
	v.meet([]string{"a"}, before)
	if _, ok := v.Get("a"); ok {
		t.Error("the action is in the view again")
	}
}
