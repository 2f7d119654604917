package rules

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// An action that waits for keys is pending and queued in the store. It gets all of them in the
// transaction that frees the last one, in the order in which the actions came; who came later
// doesn't overtake, and who is silent is passed over. Then its runner says that it begins,
// which is the moment from which it is running: up to there it can be taken back without harm.

// admits says whether a report names the ticket of an action that has not begun.
func admits(r *store.Record, rep Report) bool { return r.Queued() && rep.Fence == r.Ticket }

// giveUp ends an action that never began: 0 to 3 to 4 at once, as nobody has to look first.
func giveUp(r *store.Record, state *string, now int64) {
	moveTo(r, kapi.StatusFailed, now)
	if state != nil {
		r.State = cutState(*state)
	}
	moveTo(r, kapi.StatusAborted, now)
	r.Waits = nil
	touch(r, now, false)
}

// A Block is what stands between an action and one of its keys.
type Block struct {
	Key string
	// Holder is nil for a transaction that is open.
	Holder *store.Record
	// behind is true for one that doesn't hold the key, but waits for it longer.
	behind bool
	// circular is true for one that waits for the action itself.
	circular bool
}

func (b *Block) String() string {
	if b.Holder == nil {
		return "waits for a transaction that claims the key"
	}
	name := fmt.Sprintf("action %s (%s)", b.Holder.ID, b.Holder.Title)
	switch {
	case b.behind:
		return "waits behind " + name
	case b.Holder.Status == kapi.StatusFailed:
		return "waits until " + name + " is dismissed, which failed"
	}
	return "waits for " + name
}

// refusal is what a start is told that doesn't wait.
func (b *Block) refusal() error {
	if b.Holder == nil {
		return &store.BusyError{Keys: []string{b.Key}}
	}
	return &kapi.HeldError{Key: b.Key, Holder: b.Holder.Shown(), NotProvenDead: b.Holder.WorkMayGoOn(), Circular: b.circular}
}

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
	slices.SortFunc(waiters, ByTicket)
	return waiters
}

func ByTicket(a, b *store.Record) int { return cmp.Compare(a.Ticket, b.Ticket) }

// Wanted says by key who of those that wait has waited longest for it. It is made on the way
// through them, so that each costs a look at its own keys only.
type Wanted map[string]*store.Record

func (w Wanted) Add(r *store.Record) {
	for _, key := range r.Waits {
		if w[key] == nil {
			w[key] = r
		}
	}
}

// By returns who has waited longest for one of keys, nil if nobody does.
func (w Wanted) By(keys []string) (b *Block) {
	for _, key := range keys {
		if r := w[key]; r != nil && (b == nil || r.Ticket < b.Holder.Ticket) {
			b = &Block{Key: key, Holder: r, behind: true}
		}
	}
	return b
}

// ahead is what is wanted by all who wait in this moment.
func (pl *Plan) ahead() Wanted {
	if !pl.queues {
		return nil
	}
	w := Wanted{}
	for _, r := range pl.waiters() {
		if r.Eligible() {
			w.Add(r)
		}
	}
	return w
}

// blocked says what somebody has to wait for who wants keys, nil if nothing; dismiss are the failed
// actions that it may dismiss, if they are all that holds its keys.
func (pl *Plan) blocked(keys []string, dismissFailed bool, ahead Wanted) (b *Block, dismiss []*store.Record) {
	for _, key := range keys {
		id := pl.holder(key)
		if id == "" && pl.busy[key] {
			return &Block{Key: key}, nil
		}
		if id == "" {
			continue
		}
		holder := pl.lookup(id)
		if !dismissFailed || holder.Status != kapi.StatusFailed || holder.WorkMayGoOn() {
			return &Block{Key: key, Holder: holder}, nil
		}
		if !slices.ContainsFunc(dismiss, func(r *store.Record) bool { return r.ID == id }) {
			dismiss = append(dismiss, holder)
		}
	}
	return ahead.By(keys), dismiss
}

// circular says which of those that a start would wait for waits for the start itself: it is one
// that the start is part of, or waits for such. Nobody who comes later can be, and who is
// silent may come back to its place.
func (pl *Plan) circular(keys, within []string) *Block {
	own := func(keys []string) *Block {
		for _, key := range keys {
			if id := pl.holder(key); slices.Contains(within, id) {
				if holder := pl.lookup(id); holder.Status.Active() || holder.WorkMayGoOn() {
					return &Block{Key: key, Holder: holder, circular: true}
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
	stuck := Wanted{}
	for _, r := range pl.waiters() {
		if r.CancelRequestedAt == 0 && (own(r.Waits) != nil || stuck.By(r.Waits) != nil) {
			stuck.Add(r)
		}
	}
	b := stuck.By(keys)
	if b != nil {
		b.circular = true
	}
	return b
}

// enqueue adds an action that waits.
func (pl *Plan) enqueue(c *Change, b *Block) store.Record {
	r := pl.born(c.Action)
	r.Status, r.StartedAt = kapi.StatusPending, 0
	r.Waits, r.Keys = r.Keys, nil
	r.Ticket, r.DismissFailed = r.Fence, c.DismissFailed
	r.State = cutState(b.String())
	return pl.put(r)
}

// advance gives free keys to those who wait for them, and says of the others what for.
func (pl *Plan) advance() {
	for again := true; again; {
		again = pl.advanceOnce()
	}
	pl.moved = false
}

// advanceOnce is true if it freed keys that somebody may wait for whom it had passed already.
func (pl *Plan) advanceOnce() (freed bool) {
	ahead := Wanted{}
	for _, waiter := range pl.waiters() {
		next := *waiter
		if !next.Eligible() {
			continue
		}
		b, dismissed := pl.blocked(next.Waits, next.DismissFailed, ahead)
		if b != nil {
			ahead.Add(waiter)
			if state := cutState(b.String()); state != next.State {
				next.State = state
				touch(&next, pl.now, false)
				pl.put(next)
			}
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
		next.State = ""
		next.Fence = pl.seq + 1
		touch(&next, pl.now, false)
		pl.put(next)
	}
	return freed
}
