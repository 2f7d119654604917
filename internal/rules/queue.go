package rules

import (
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// An action that waits for keys is pending and queued in the store. Actions get their keys in the
// order in which they came, each in the transaction that frees the last of its keys. Later ones don't
// overtake; silent ones are passed over. The action runs from the moment its runner reports that it
// begins. Until then the keys can be taken back without harm.

// waiters returns the records of the actions that wait now, in the order in which they came.
func (pl *Plan) waiters() []*store.Record {
	if !pl.queues {
		return nil
	}
	var waiters []*store.Record
	for _, r := range pl.world.Waiting() {
		if pl.touched[r.ID] == nil {
			waiters = append(waiters, r)
		}
	}
	for _, t := range pl.touched {
		if t.Waiting() {
			waiters = append(waiters, &t.Record)
		}
	}
	slices.SortFunc(waiters, byTicket)
	return waiters
}

// ahead returns the keys that the eligible waiters want now.
func (pl *Plan) ahead() wanted {
	if !pl.queues {
		return nil
	}
	w := wanted{}
	for _, r := range pl.waiters() {
		if r.Eligible() {
			w.add(r)
		}
	}
	return w
}

// blocked returns what keeps an action from getting keys, or nil. If dismissFailed is set, failed actions
// that may be dismissed don't block; dismiss has those to be dismissed. ahead has the waiters before it.
func (pl *Plan) blocked(keys []string, dismissFailed bool, ahead wanted) (b *block, dismiss []*store.Record) {
	for _, key := range keys {
		id := pl.holder(key)
		if id == "" && pl.busy[key] {
			return &block{key: key}, nil
		}
		if id == "" {
			continue
		}
		holder := pl.lookup(id)
		if !dismissFailed || holder.Status != kapi.StatusFailed || holder.NotProvenDead {
			return &block{key: key, holder: holder}, nil
		}
		if !slices.ContainsFunc(dismiss, func(r *store.Record) bool { return r.ID == id }) {
			dismiss = append(dismiss, holder)
		}
	}
	return ahead.by(keys), dismiss
}

// circular returns a block if a start of keys would wait for itself. within has the actions that the start
// is part of. The start would wait for itself if one of these actions holds one of the keys, or if a waiter
// that wants one of the keys waits for one of these actions, directly or behind another waiter. Later starts
// are behind this one and don't matter. Silent waiters count, since they may get back to their place.
func (pl *Plan) circular(keys, within []string) *block {
	own := func(keys []string) *block {
		for _, key := range keys {
			if id := pl.holder(key); slices.Contains(within, id) {
				if holder := pl.lookup(id); holder.Status.Active() || holder.NotProvenDead {
					return &block{key: key, holder: holder, circular: true}
				}
			}
		}
		return nil
	}
	if len(within) == 0 {
		return nil
	}
	if b := own(keys); b != nil {
		return b
	}
	stuck := wanted{}
	for _, r := range pl.waiters() {
		if r.CancelRequestedAt == 0 && (own(r.Waits) != nil || stuck.by(r.Waits) != nil) {
			stuck.add(r)
		}
	}
	b := stuck.by(keys)
	if b != nil {
		b.circular = true
	}
	return b
}

// advance gives free keys to the actions that wait for them, and updates what the others say they wait
// for.
func (pl *Plan) advance() {
	for again := true; again; {
		again = pl.advanceOnce()
	}
	pl.explainPassedOver()
	pl.moved = false
}

// explainPassedOver updates what the passed-over actions say they would wait for.
func (pl *Plan) explainPassedOver() {
	ahead := wanted{}
	for _, waiter := range pl.waiters() {
		if waiter.Eligible() {
			ahead.add(waiter)
			continue
		}
		b, _ := pl.blocked(waiter.Waits, false, ahead)
		pl.explain(*waiter, b)
	}
}

// explain records b, which may be nil, as what a waiting action waits for.
func (pl *Plan) explain(r store.Record, b *block) {
	if b.explain(&r) {
		touch(&r, pl.now, false)
		pl.put(r)
	}
}

// advanceOnce walks the waiters once. freed is true if it freed keys that an earlier waiter may want.
func (pl *Plan) advanceOnce() (freed bool) {
	ahead := wanted{}
	for _, waiter := range pl.waiters() {
		next := *waiter
		if !next.Eligible() {
			continue
		}
		b, dismissed := pl.blocked(next.Waits, next.DismissFailed, ahead)
		if b != nil {
			ahead.add(waiter)
			pl.explain(next, b)
		}
		for _, holder := range dismissed { // even if waiters ahead get the keys
			gone := *holder
			if dismiss(&gone, pl.now) == nil {
				pl.Dismissed = append(pl.Dismissed, Dismissal{holder.Shown(), next.ID})
				pl.put(gone)
				freed = true
			}
		}
		if b != nil {
			continue
		}
		next.Keys, next.Waits = next.Waits, nil
		next.State, next.WaitsFor = "", nil
		next.Fence = pl.seq + 1
		touch(&next, pl.now, false)
		pl.put(next)
	}
	return freed
}
