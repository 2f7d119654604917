package kapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"sync"
)

// A view is a peer's picture of the store: the ongoing records as of a seq. It only
// moves forward, and everybody who watches is told in the order of seq.
type view struct {
	// notice is told of each change while the view is locked; it must not block or use
	// the view.
	notice func(*Record)

	mu      sync.RWMutex
	head    Head
	entries map[string]*entry
	keys    map[string]string // key -> id of the action that holds it
	watches map[*Watch]struct{}
	listing *Listing // of head, nil if not made yet
}

// An entry is one ongoing record. It is replaced, never changed.
type entry struct {
	Record
	encode func() []byte // the JSON of what is shown, made once
}

func newEntry(r Record) *entry {
	e := &entry{Record: r}
	e.encode = sync.OnceValue(func() []byte {
		data, err := json.Marshal(e.Shown())
		if err != nil {
			panic(err) // an Action has nothing that can't be encoded
		}
		return data
	})
	return e
}

// A Listing is the list of all ongoing actions in its wire form.
type Listing struct {
	// Epoch and Seq tell this list from every other.
	Epoch string
	Seq   uint64
	// JSON is an array, oldest action first. It is shared: don't change it.
	JSON []byte
}

func newView(notice func(*Record)) *view {
	return &view{
		notice:  notice,
		entries: map[string]*entry{}, keys: map[string]string{}, watches: map[*Watch]struct{}{},
	}
}

// apply takes in a page of the feed, or what the peer itself has just committed. What
// the view has seen already is passed over.
func (v *view) apply(page Page) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if page.Epoch != v.head.Epoch {
		return // read before the view was replaced by that of another history
	}
	for i := range page.Records {
		if r := &page.Records[i]; r.Seq > v.head.Seq {
			v.put(r)
			v.tell(r)
		}
	}
	if page.Seq > v.head.Seq {
		v.head.Seq = page.Seq
		v.listing = nil
	}
	v.head.Purged = max(v.head.Purged, page.Purged)
}

// load replaces the view. Watchers who can't be told what happened in between are cut
// with ErrGap.
func (v *view) load(s Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.entries
	v.entries = make(map[string]*entry, len(s.Records))
	v.keys = make(map[string]string, len(s.Records))
	first := v.head.Epoch == ""
	v.head = s.Head
	v.listing = nil
	for i := range s.Records {
		v.put(&s.Records[i])
	}
	if first {
		return
	}
	for w := range v.watches {
		w.cut(ErrGap)
	}
	clear(v.watches)
	for id, e := range known {
		if now := v.entries[id]; now != nil {
			v.notice(&now.Record)
			continue
		}
		gone := e.Record // ended while we looked away: for its runner that is a loss
		gone.Status = StatusAborted
		v.notice(&gone)
	}
}

func (v *view) put(r *Record) {
	if old := v.entries[r.ID]; old != nil {
		for _, key := range old.Keys {
			if v.keys[key] == r.ID {
				delete(v.keys, key)
			}
		}
	}
	if !r.Status.Ongoing() {
		delete(v.entries, r.ID)
		return
	}
	v.entries[r.ID] = newEntry(*r)
	for _, key := range r.Keys {
		v.keys[key] = r.ID
	}
}

// tell passes a change on to the watchers and to the peer itself.
func (v *view) tell(r *Record) {
	if len(v.watches) > 0 {
		shown := r.Shown()
		for w := range v.watches {
			w.push(shown)
		}
	}
	v.notice(r)
}

func (v *view) at() Head {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.head
}

func (v *view) get(id string) (Record, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if e := v.entries[id]; e != nil {
		return e.Record, true
	}
	return Record{}, false
}

// all returns the entries, oldest first, and the head they belong to.
func (v *view) all() ([]*entry, Head) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.sorted(), v.head
}

func (v *view) sorted() []*entry {
	all := make([]*entry, 0, len(v.entries))
	for _, e := range v.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.Fence, b.Fence))
	})
	return all
}

func (v *view) list() Listing {
	v.mu.RLock()
	listing := v.listing
	v.mu.RUnlock()
	if listing != nil {
		return *listing
	}
	all, head := v.all()
	parts := make([][]byte, len(all))
	for i, e := range all {
		parts[i] = e.encode()
	}
	listing = &Listing{
		Epoch: head.Epoch, Seq: head.Seq,
		JSON: slices.Concat([]byte("["), bytes.Join(parts, []byte(",")), []byte("]")),
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.head.Epoch == head.Epoch && v.head.Seq == head.Seq {
		v.listing = listing
	}
	return *listing
}

// holder returns the id of the action that holds key, "" if none does.
func (v *view) holder(key string) string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.keys[key]
}

// cutAll ends every watch.
func (v *view) cutAll(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for w := range v.watches {
		w.cut(err)
	}
	clear(v.watches)
}
