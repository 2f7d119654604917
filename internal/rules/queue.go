package rules

import (
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// An action that waits for keys is pending and queued in the store. It gets all of them in the
// transaction that frees the last one, in the order in which the actions came; who came later
// doesn't overtake, and who is silent is passed over. Then its runner says that it begins,
// which is the moment from which it is running: up to there it can be taken back without harm.

// waiters returns the records of the actions that wait in this moment, in the order in which they
// came.
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

// ahead is what is wanted by all who wait in this moment.
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

// blocked says what somebody has to wait for who wants keys, nil if nothing; dismiss are the failed
// actions that it may dismiss, if they are all that holds its keys.
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

// circular says which of those that a start would wait for waits for the start itself: it is one
// that the start is part of, or waits for such. Nobody who comes later can be, and who is
// silent may come back to its place.
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

// advance gives free keys to those who wait for them, and has the others say what for.
func (pl *Plan) advance() {
	for again := true; again; {
		again = pl.advanceOnce()
	}
	pl.explainPassedOver()
	pl.moved = false
}

// explainPassedOver has those that are passed over say what they would wait for.
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

// explain has an action that waits say what for: nothing, if b is nil.
func (pl *Plan) explain(r store.Record, b *block) {
	if b.explain(&r) {
		touch(&r, pl.now, false)
		pl.put(r)
	}
}

// advanceOnce is true if it freed keys that somebody may wait for whom it had passed already.
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
		for _, holder := range dismissed { // for those ahead, too
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
