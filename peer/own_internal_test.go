package peer

import (
	"testing"

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
	if !v.meet(late) || v.at().Seq != 5 {
		t.Errorf("the head is %d, want 5", v.at().Seq)
	}
	v.applyOwn(late.Head, nil)
	if v.at().Seq != 5 {
		t.Errorf("the head is %d, want 5", v.at().Seq)
	}
}
