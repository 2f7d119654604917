package peer

import (
	"maps"
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// The view of a light peer has only the peer's own actions.

// take applies the peer's own commit.
func (v *view) take(own store.Page) {
	if v.isFull() {
		v.apply(own)
	} else {
		v.applyOwn(own.Head, own.Records)
	}
}

// applyOwn applies those records that are newer than the view's, and those of this peer's own ongoing actions
// that the view lacks. It ignores the others. head is that of the read or the commit that the records come
// from. A full view ignores all of them.
func (v *view) applyOwn(head store.Head, records []store.Record) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.putOwn(head, records, false)
}

// putOwn is applyOwn with the view locked. late is set if the records may be older than the view. Then a
// record that the view lacks is ignored, because its action may have ended since.
func (v *view) putOwn(head store.Head, records []store.Record, late bool) {
	if v.full || head.Epoch != v.head.Epoch { // the head of a full view may advance only by the feed
		return
	}
	v.head.Seq = max(v.head.Seq, head.Seq)
	for i := range records {
		r := &records[i]
		known := v.entries[r.ID]
		switch {
		case known == nil && (late || r.RunnerID() != v.own || !r.Status.Ongoing()):
		case known != nil && r.Seq <= known.Seq:
		default:
			v.put(r)
			v.notice(r)
		}
	}
}

// meet applies a snapshot of the peer's own actions that may be older than the view. asked has the ids that
// were looked up; an action that was started after they were collected is not in the snapshot, although it
// may be older. A full view ignores the snapshot. meet is false if the snapshot is of another history.
func (v *view) meet(asked []string, s store.Snapshot) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if same := v.head.Epoch == s.Epoch; v.full || !same {
		return same
	}
	v.putOwn(s.Head, s.Records, s.Seq < v.head.Seq)
	there := make(map[string]bool, len(s.Records))
	for i := range s.Records {
		there[s.Records[i].ID] = true
	}
	for _, id := range asked {
		if e := v.entries[id]; e != nil && e.Seq <= s.Seq && !there[id] {
			gone := e.Record
			gone.Status = kapi.StatusAborted // so that notice tells the operation that it has lost its action
			v.put(&gone)
			v.notice(&gone)
		}
	}
	return true
}

// isFull reports whether the view has the actions of other peers, too.
func (v *view) isFull() bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.full
}

// loadOwn replaces the view with a snapshot of the peer's own actions, unless it is a full one.
func (v *view) loadOwn(s store.Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.full {
		if s.Epoch == v.head.Epoch {
			s.Seq = max(s.Seq, v.head.Seq)
		}
		v.replace(s)
	}
}

// lighten removes all actions except the peer's own, which are those that name its runner or are in ids. From then
// on the view is a light one.
func (v *view) lighten(ids []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	kept := make(map[string]bool, len(ids))
	for _, id := range ids {
		kept[id] = true
	}
	for id, e := range v.entries {
		if e.RunnerID() != v.own && !kept[id] {
			v.drop(id)
		}
	}
	v.tidyOrder()
	clear(v.waiting)
	clear(v.queues)
	v.keys = map[string]string{}
	for id, e := range v.entries {
		if e.Waiting() {
			v.joinQueue(&e.Record)
		}
		for _, key := range e.Holds() {
			v.keys[key] = id
		}
	}
	v.full = false
	v.entries = maps.Clone(v.entries) // which lets go of the memory
	clear(v.listings)
}

// ids returns the ids of the actions in the view.
func (v *view) ids() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Collect(maps.Keys(v.entries))
}
