package rules

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// An action that waits for keys is pending and queued in the store. Actions get their keys in the
// order in which they came, each in the transaction that frees the last of its keys. Later ones don't
// overtake; silent ones are passed over. The action runs from the moment its runner reports that it
// begins. Until then the keys can be taken back without harm.

// queue returns the records of the actions that wait for a key now, in any order.
func (pl *Plan) queue(key string) (waiters []*store.Record) {
	for _, r := range pl.world.Queue(key) {
		if pl.touched[r.ID] == nil {
			waiters = append(waiters, r)
		}
	}
	for _, id := range pl.joined[key] {
		if t := pl.touched[id]; t.Waiting() {
			waiters = append(waiters, &t.Record)
		}
	}
	return waiters
}

// noteQueue notes which queues a change of a record concerns. old is nil for a new record.
func (pl *Plan) noteQueue(old, r *store.Record) {
	if r.Waiting() {
		pl.queues = true
		pl.join(r)
	}
	switch {
	case !pl.queues:
	case old == nil && r.Waiting() && !r.DismissFailed: // it is the last of all, so nothing changes for the others
	case r.Queued(), old != nil && (old.Status != r.Status || old.NotProvenDead != r.NotProvenDead):
		pl.stir(stirs(r))
		if old != nil {
			pl.stir(stirs(old))
		}
	}
}

// stir notes that something has happened to keys that may concern the actions that wait for them.
func (pl *Plan) stir(keys []string) {
	if pl.moved == nil && len(keys) > 0 {
		pl.moved = map[string]struct{}{}
	}
	for _, key := range keys {
		pl.moved[key] = struct{}{}
	}
}

// join notes that an action waits, or waited, for its keys.
func (pl *Plan) join(r *store.Record) {
	if pl.joined == nil {
		pl.joined = map[string][]string{}
	}
	for _, key := range r.Waits {
		if !slices.Contains(pl.joined[key], r.ID) {
			pl.joined[key] = append(pl.joined[key], r.ID)
		}
	}
}

// ahead returns the eligible waiters that want any of keys, which may have the name of a queue for turns, now.
func (pl *Plan) ahead(keys []string) wanted {
	if !pl.queues {
		return nil
	}
	w := wanted{}
	for _, key := range keys {
		var l waitline
		for _, r := range pl.queue(key) {
			if !r.Eligible() || store.IsTurn(key) && !waitsForTurn(r) {
				continue
			}
			if l.n++; l.first == nil || r.Ticket < l.first.Ticket {
				l.first = r
			}
			if l.last == nil || r.Ticket > l.last.Ticket {
				l.last = r
			}
		}
		if l.n > 0 {
			w[key] = l
		}
	}
	return w
}

// entangled adds to keys all other keys for which actions wait that wait for one of keys, or for one that
// was added.
func (pl *Plan) entangled(keys []string) []string {
	known := make(map[string]bool, len(keys))
	for _, key := range keys {
		known[key] = true
	}
	for i := 0; i < len(keys); i++ {
		for _, r := range pl.queue(keys[i]) {
			for _, key := range r.Waits {
				if !known[key] {
					known[key] = true
					keys = append(keys, key)
				}
			}
		}
	}
	return keys
}

// waiters returns the records of the actions that wait for any of keys now, in the order in which they came.
func (pl *Plan) waiters(keys []string) []*store.Record {
	var waiters []*store.Record
	for _, key := range keys {
		waiters = append(waiters, pl.queue(key)...)
	}
	slices.SortFunc(waiters, byTicket)
	return slices.CompactFunc(waiters, func(a, b *store.Record) bool { return a.ID == b.ID })
}

// blocked returns what keeps an action from getting what it needs, or nil. If dismissFailed is set, failed actions
// that may be dismissed don't block; dismiss has those to be dismissed. ahead has the waiters before it. They don't
// block keys of the failed action that this one continues: those pass directly from the one to the other.
func (pl *Plan) blocked(n need, dismissFailed bool, ahead wanted) (b *block, dismiss []*store.Record) {
	var free []string
	for _, key := range n.keys {
		id := pl.holder(key)
		if id == "" && pl.busy[key] {
			return &block{key: key}, nil
		}
		if id == n.continues && id != "" {
			continue
		}
		if free = append(free, key); id == "" {
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
	if b := ahead.by(free); b != nil || n.limit == 0 {
		return b, dismiss
	}
	if turn, first := pl.freeTurn(n); turn == 0 {
		return &block{key: store.TurnsKey(n.operation), operation: n.operation, limit: n.limit, holder: first}, nil
	}
	return ahead.turn(n), dismiss
}

// circular returns a block if a start would wait for itself. within has the actions that the start
// is part of. The start would wait for itself if one of these actions holds one of the keys, or if a waiter
// that wants one of the keys waits for one of these actions, directly or behind another waiter. Later starts
// are behind this one and don't matter. Silent waiters count, since they may get back to their place.
func (pl *Plan) circular(n need, within []string) *block {
	own := func(n need) *block {
		for _, key := range n.keys {
			if id := pl.holder(key); slices.Contains(within, id) {
				if holder := pl.lookup(id); holder.Status.Active() || holder.NotProvenDead {
					return &block{key: key, holder: holder, circular: true}
				}
			}
		}
		if holder := pl.turnsWithin(n, within); holder != nil {
			return &block{key: store.TurnsKey(n.operation), operation: n.operation, limit: n.limit, holder: holder, circular: true}
		}
		return nil
	}
	if len(within) == 0 {
		return nil
	}
	if b := own(n); b != nil {
		return b
	}
	stuck := wanted{}
	for _, r := range pl.waiters(pl.entangled(slices.Clone(n.names()))) {
		theirs := needOf(r)
		b := cmp.Or(own(theirs), stuck.by(theirs.keys), stuck.turn(theirs))
		if b != nil && r.CancelRequestedAt == 0 {
			stuck.add(r, b.limit > 0)
		}
	}
	b := cmp.Or(stuck.by(n.keys), stuck.turn(n))
	if b != nil {
		b.circular = true
	}
	return b
}

// advance gives the free ones of the keys that something has happened to, to the actions that wait for them,
// and updates what the others say they wait for. It looks only at these keys, and at those that are entangled
// with them: nothing has changed for actions that wait for others.
func (pl *Plan) advance() {
	for len(pl.moved) > 0 {
		keys := pl.entangled(slices.Sorted(maps.Keys(pl.moved)))
		for again := true; again; {
			again = pl.advanceOnce(keys)
		}
		pl.explainPassedOver(keys)
		for _, key := range keys {
			delete(pl.moved, key)
		}
	}
}

// explainPassedOver updates what the passed-over actions say they would wait for.
func (pl *Plan) explainPassedOver(keys []string) {
	ahead := wanted{}
	for _, waiter := range pl.waiters(keys) {
		switch {
		case waiter.Eligible():
			ahead.add(waiter, waitsForTurn(waiter))
			continue
		case waiter.Defined != nil && waiter.Defined.Vacant: // it says that it waits for a runner
			continue
		}
		b, _ := pl.blocked(needOf(waiter), false, ahead)
		pl.explain(*waiter, ahead.told(b))
	}
}

// explain records b, which may be nil, as what a waiting action waits for. It reports whether that is new.
func (pl *Plan) explain(r store.Record, b *block) bool {
	if !b.explain(&r) {
		return false
	}
	touch(&r, pl.now, false)
	pl.put(r)
	return true
}

// soon is how many of the first waiters for a key are woken when the queue has moved, so that they look more often
// when their turn is near.
const soon = 2

// advanceOnce walks the waiters once. freed is true if it freed keys that an earlier waiter may want.
func (pl *Plan) advanceOnce(keys []string) (freed bool) {
	ahead := wanted{}
	for _, waiter := range pl.waiters(keys) {
		next := *waiter
		if !next.Eligible() {
			continue
		}
		if err := pl.continuable(&next); err != nil {
			if pl.refuse(&next, err) == nil {
				pl.put(next)
			}
			continue
		}
		n := needOf(&next)
		b, dismissed := pl.blocked(n, next.DismissFailed, ahead)
		if b != nil {
			if pl.explain(next, ahead.told(b)) && ahead[b.key].n < soon && pl.elsewhere(waiter) {
				pl.wake = append(pl.wake, waiter.Runner.ID)
			}
			ahead.add(waiter, b.limit > 0)
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
		if failed := pl.inherit(&next); failed != nil {
			pl.Dismissed = append(pl.Dismissed, Dismissal{failed.Shown(), next.ID})
			freed = true
		}
		pl.hold(&next, n)
		next.State = ""
		next.Fence = pl.seq + 1
		touch(&next, pl.now, false)
		pl.put(next)
	}
	return freed
}
