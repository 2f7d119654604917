package peer

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A view is a peer's picture of the store: the ongoing records as of a seq. It only moves
// forward, and all watches get its changes in order of seq.
//
// The view of a light peer has only the actions that the peer runs itself, each as it was last read. Its
// seq is the highest that the peer has seen.
type view struct {
	own string // the peer's runner id
	// notice is called with each change while the view is locked. It must not block or use
	// the view.
	notice func(*store.Record)
	// lose is called in the same way with each record that was ongoing before and that a new
	// history lacks.
	lose func(store.Record)

	mu         sync.RWMutex
	full       bool // it has the actions of other peers, too
	head       store.Head
	entries    map[string]*entry
	order      []string                       // ids of entries, oldest first apart from a few; it may have ids that are gone
	keys       map[string]string              // key -> id of the action that holds it
	waiting    map[string]struct{}            // ids of the actions that wait for keys
	queues     map[string]map[string]struct{} // key -> ids of the actions that wait for it
	senders    map[string]map[string]struct{} // sender -> ids of the actions that it has started
	watches    map[*Watch]struct{}
	journal    journal             // changes that the watches may not have read yet
	changed    chan struct{}       // closed and replaced when the journal has new entries
	listings   map[string]*Listing // cached lists as of head, by sender; "" is the list of all actions
	journalled uint64              // the number of entries ever added to the journal
	seen       seen
}

func newView(notice func(*store.Record), lose func(store.Record)) *view {
	return &view{
		notice: notice, lose: lose,
		entries: map[string]*entry{}, keys: map[string]string{}, waiting: map[string]struct{}{}, queues: map[string]map[string]struct{}{}, senders: map[string]map[string]struct{}{}, watches: map[*Watch]struct{}{}, listings: map[string]*Listing{},
		changed: make(chan struct{}), seen: newSeen(),
	}
}

// apply applies a page of the feed, or the peer's own commit. It ignores changes that the view
// already has.
func (v *view) apply(page store.Page) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if page.Epoch != v.head.Epoch {
		return // read before another history replaced the view
	}
	news, now := false, time.Now().UnixMilli()
	for i := range page.Records {
		if r := &page.Records[i]; r.Seq > v.head.Seq {
			v.seen.change(v.entries[r.ID], r, now)
			v.put(r)
			if len(v.watches) > 0 {
				e := v.entries[r.ID]
				if e == nil { // it has ended
					e = &entry{Record: *r}
				}
				v.journalled++
				e.nth = v.journalled
				v.journal.add(e)
				news = true
			}
			v.notice(r)
		}
	}
	if news {
		v.wake()
	}
	if page.Seq > v.head.Seq {
		v.head.Seq = page.Seq
		clear(v.listings)
	}
	v.head.Purged = max(v.head.Purged, page.Purged)
}

// load replaces the view with a snapshot of all ongoing actions, and makes it a full one. It ends the
// watches with ErrGap, because they miss the changes in between.
func (v *view) load(s store.Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.full && s.Epoch == v.head.Epoch && s.Seq < v.head.Seq {
		return // the view is newer than the snapshot
	}
	v.full = true
	v.replace(s)
}

func (v *view) replace(s store.Snapshot) {
	known, before := v.entries, v.head.Epoch
	v.entries = make(map[string]*entry, len(s.Records))
	v.keys = make(map[string]string, len(s.Records))
	clear(v.waiting)
	clear(v.queues)
	clear(v.senders)
	first := v.head.Epoch == ""
	v.head = s.Head
	clear(v.listings)
	v.order = make([]string, 0, len(s.Records))
	slices.SortFunc(s.Records, func(a, b store.Record) int { return older(&a, &b) })
	for i := range s.Records {
		v.put(&s.Records[i])
	}
	if first {
		return
	}
	for w := range v.watches {
		v.cut(w, kapi.ErrGap)
	}
	for _, e := range v.entries {
		v.notice(&e.Record)
	}
	for id, e := range known {
		switch {
		case v.entries[id] != nil:
		case v.head.Epoch != before:
			v.lose(e.Record)
		default:
			gone := e.Record // it ended unseen: its operation, if any, has lost its action
			gone.Status = kapi.StatusAborted
			v.notice(&gone)
		}
	}
}

func (v *view) put(r *store.Record) {
	old := v.entries[r.ID]
	if old != nil {
		for _, key := range old.Holds() {
			if v.keys[key] == r.ID {
				delete(v.keys, key)
			}
		}
		if old.Waiting() {
			v.leaveQueue(&old.Record)
		}
	}
	if !r.Status.Ongoing() {
		v.drop(r.ID)
		return
	}
	if r.Waiting() {
		v.joinQueue(r)
	}
	v.entries[r.ID] = &entry{Record: *r}
	if old == nil {
		v.order = append(v.order, r.ID)
		if r.Sender != "" {
			join(v.senders, r.Sender, r.ID)
		}
	}
	for _, key := range r.Holds() {
		v.keys[key] = r.ID
	}
}

// wake wakes the watches, and keeps their journal small.
func (v *view) wake() {
	close(v.changed)
	v.changed = make(chan struct{})
	if !v.journal.full() {
		return
	}
	read := v.head.Seq
	for w := range v.watches {
		read = min(read, w.at.Load())
	}
	lost := v.journal.tidy(read)
	for w := range v.watches {
		if w.at.Load() < lost {
			v.cut(w, kapi.ErrGap)
		}
	}
}

// cut ends a watch with err. Unless that is ErrGap, the watch first delivers what it has not
// delivered yet.
func (v *view) cut(w *Watch, err error) {
	if _, ok := v.watches[w]; !ok {
		return
	}
	delete(v.watches, w)
	if w.err = err; !errors.Is(err, kapi.ErrGap) {
		w.rest = v.journal.rest(w.at.Load())
	}
	close(w.ended)
	if len(v.watches) == 0 {
		v.journal = journal{}
	}
}

func (v *view) at() store.Head {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.head
}

// Get returns the record of an ongoing action.
func (v *view) Get(id string) (store.Record, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if e := v.entries[id]; e != nil {
		return e.Record, true
	}
	return store.Record{}, false
}

// all returns the entries, oldest first, and the head that they belong to.
func (v *view) all() ([]*entry, store.Head) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.sorted(), v.head
}

// cutAll ends every watch.
func (v *view) cutAll(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for w := range v.watches {
		v.cut(w, err)
	}
}
