package peer

import (
	"cmp"
	"slices"

	"github.com/kettubot/kapi/internal/store"
)

// What a view looks up without going through all of its actions: their order, who waits for a key, what a sender
// has started.

// older compares actions by age, the oldest first.
func older(a, b *store.Record) int {
	return cmp.Or(cmp.Compare(a.CreatedAt, b.CreatedAt), cmp.Compare(a.Fence, b.Fence))
}

func (v *view) sorted() []*entry {
	all := make([]*entry, 0, len(v.entries))
	for _, id := range v.order {
		if e := v.entries[id]; e != nil {
			all = append(all, e)
		}
	}
	sortByAge(all)             // which takes little time, as they mostly are
	return slices.Compact(all) // an action that was gone and is back is in the order twice
}

func sortByAge(all []*entry) {
	slices.SortFunc(all, func(a, b *entry) int { return older(&a.Record, &b.Record) })
}

// startedBy returns the entries of a sender's actions, oldest first, and the head that they belong to.
func (v *view) startedBy(sender string) ([]*entry, store.Head) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	all := make([]*entry, 0, len(v.senders[sender]))
	for id := range v.senders[sender] {
		all = append(all, v.entries[id])
	}
	sortByAge(all)
	return all, v.head
}

// pick returns the entries for which want returns true, in any order. want must not use the view.
func (v *view) pick(want func(*entry) bool) (picked []*entry) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, e := range v.entries {
		if want(e) {
			picked = append(picked, e)
		}
	}
	return picked
}

// Waiting returns the records of the actions that wait for keys, in any order.
func (v *view) Waiting() (waiting []*store.Record) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for id := range v.waiting {
		waiting = append(waiting, &v.entries[id].Record)
	}
	return waiting
}

// Waits implements rules.Picture.
func (v *view) Waits() bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.waiting) > 0
}

// Queue implements rules.Picture.
func (v *view) Queue(key string) (waiting []*store.Record) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for id := range v.queues[key] {
		waiting = append(waiting, &v.entries[id].Record)
	}
	return waiting
}

func (v *view) joinQueue(r *store.Record) {
	v.waiting[r.ID] = struct{}{}
	for _, key := range r.Waits {
		join(v.queues, key, r.ID)
	}
}

func (v *view) leaveQueue(r *store.Record) {
	delete(v.waiting, r.ID)
	for _, key := range r.Waits {
		leave(v.queues, key, r.ID)
	}
}

// Holder returns the id of the action that holds key, or "" if none does.
func (v *view) Holder(key string) string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.keys[key]
}

// drop removes an action that has ended.
func (v *view) drop(id string) {
	old := v.entries[id]
	if old == nil {
		return
	}
	if old.Sender != "" {
		leave(v.senders, old.Sender, id)
	}
	delete(v.entries, id)
	const few = 64
	if len(v.order) > 2*len(v.entries)+few {
		v.tidyOrder()
	}
}

func (v *view) tidyOrder() {
	kept := make(map[string]bool, len(v.entries))
	v.order = slices.DeleteFunc(v.order, func(id string) bool {
		gone := v.entries[id] == nil || kept[id]
		kept[id] = true
		return gone
	})
}

func join(sets map[string]map[string]struct{}, name, id string) {
	if sets[name] == nil {
		sets[name] = map[string]struct{}{}
	}
	sets[name][id] = struct{}{}
}

func leave(sets map[string]map[string]struct{}, name, id string) {
	if delete(sets[name], id); len(sets[name]) == 0 {
		delete(sets, name)
	}
}
