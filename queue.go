package kapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// An action that waits for keys is pending and queued in the store. It gets all of them in the
// transaction that frees the last one, in the order in which the actions came; who came later
// doesn't overtake, and who is silent is passed over. Then its runner says that it begins,
// which is the moment from which it is running: up to there it can be taken back without harm.

// queued reports whether the action is in the queue, or has its keys from there and has not
// begun.
func (r *Record) queued() bool { return r.Ticket != 0 && r.Status == StatusPending }

// waiting reports whether the action has yet to get its keys.
func (r *Record) waiting() bool { return r.queued() && len(r.Waits) > 0 }

// eligible reports whether a waiting action is not passed over.
func (r *Record) eligible() bool {
	return r.waiting() && r.Silence == "" && r.CancelRequestedAt == 0
}

// admits says whether a report names the ticket of an action that has not begun.
func (r *Record) admits(rep report) bool { return r.queued() && rep.fence == r.Ticket }

// giveUp ends an action that never began: 0 to 3 to 4 at once, as nobody has to look first.
func (r *Record) giveUp(state *string, now int64) {
	r.moveTo(StatusFailed, now)
	if state != nil {
		r.State = cutState(*state)
	}
	r.moveTo(StatusAborted, now)
	r.Waits = nil
	r.touch(now, false)
}

// A block is what stands between an action and one of its keys.
type block struct {
	key    string
	holder *Record
	// behind is true for one that doesn't hold the key, but waits for it longer.
	behind bool
}

func (b *block) String() string {
	name := fmt.Sprintf("action %s (%s)", b.holder.ID, b.holder.Title)
	switch {
	case b.behind:
		return "waits behind " + name
	case b.holder.Status == StatusFailed:
		return "waits until " + name + " is dismissed, which failed"
	}
	return "waits for " + name
}

// waiters returns the ids of the actions that wait in this moment, in the order in which they
// came.
func (pl *plan) waiters() []string {
	if !pl.queues {
		return nil
	}
	var waiters []*Record
	for _, r := range pl.view.queue() {
		if pl.touched[r.ID] == nil {
			waiters = append(waiters, r)
		}
	}
	for _, t := range pl.touched {
		if t.waiting() {
			waiters = append(waiters, &t.Record)
		}
	}
	slices.SortFunc(waiters, func(a, b *Record) int { return cmp.Compare(a.Ticket, b.Ticket) })
	ids := make([]string, len(waiters))
	for i, r := range waiters {
		ids[i] = r.ID
	}
	return ids
}

// blocked says what a start has to wait for, nil if nothing; dismiss are the failed actions that
// it dismisses if so.
func (pl *plan) blocked(keys []string, dismissFailed bool, before uint64) (b *block, dismiss []*Record) {
	for _, key := range keys {
		id := pl.holder(key)
		if id == "" {
			continue
		}
		holder := pl.lookup(id)
		if !dismissFailed || holder.Status != StatusFailed || holder.workMayGoOn() {
			return &block{key: key, holder: holder}, nil
		}
		if !slices.ContainsFunc(dismiss, func(r *Record) bool { return r.ID == id }) {
			dismiss = append(dismiss, holder)
		}
	}
	for _, id := range pl.waiters() {
		waiter := pl.lookup(id)
		if waiter.Ticket >= before {
			break
		}
		for _, key := range keys {
			if waiter.eligible() && slices.Contains(waiter.Waits, key) {
				return &block{key: key, holder: waiter, behind: true}, nil
			}
		}
	}
	return nil, dismiss
}

// enqueue adds an action that waits.
func (pl *plan) enqueue(c *change, b *block) {
	r := pl.born(c)
	r.Status, r.StartedAt = StatusPending, 0
	r.Waits, r.Keys = r.Keys, nil
	r.Ticket, r.DismissFailed = r.Fence, c.dismissFailed
	r.State = cutState(b.String())
	c.record = pl.put(r)
}

// advance gives free keys to those who wait for them, and says of the others what for.
func (pl *plan) advance() {
	for again := true; again; {
		again = pl.advanceOnce()
	}
	pl.moved = false
}

// advanceOnce is true if it freed keys that somebody may wait for whom it had passed already.
func (pl *plan) advanceOnce() (freed bool) {
	for _, id := range pl.waiters() {
		next := *pl.lookup(id)
		if !next.eligible() {
			continue
		}
		b, dismiss := pl.blocked(next.Waits, next.DismissFailed, next.Ticket)
		if b != nil {
			if state := cutState(b.String()); state != next.State {
				next.State = state
				next.touch(pl.now, false)
				pl.put(next)
			}
			continue
		}
		for _, holder := range dismiss {
			gone := *holder
			if gone.dismiss(pl.now) == nil {
				pl.put(gone)
				freed = true
			}
		}
		next.Keys, next.Waits = next.Waits, nil
		next.State = ""
		next.Fence = pl.seq + 1
		next.touch(pl.now, false)
		pl.put(next)
	}
	return freed
}

// await waits until the action has its keys and is running. Otherwise it is given up.
func (r *run) await(limit time.Duration) error {
	p, h := r.peer, r.handle
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	for {
		select {
		case <-h.granted:
			began, err := r.begin()
			if began || err != nil {
				return err
			}
		case <-over:
			return r.leaveQueue(p.refusal(h.id, limit))
		case <-r.ctx.Done():
			return r.leaveQueue(context.Cause(r.ctx))
		}
	}
}

// begin says that the operation begins; it is false if the keys were taken back meanwhile.
func (r *run) begin() (bool, error) {
	p, h := r.peer, r.handle
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		now, ok := p.view.get(h.id)
		if !ok || now.waiting() {
			return false, nil // r.ctx ends if it is gone
		}
		rep := report{fence: now.Fence, status: StatusRunning}
		c := &change{id: h.id, apply: func(r *Record, at int64) error { return r.report(rep, at) }}
		err := p.commit(r.ctx, c)
		switch {
		case err == nil:
			h.mu.Lock()
			h.fence, h.action = c.record.Fence, c.record.Shown()
			h.mu.Unlock()
			return true, nil
		case errors.Is(err, ErrWaiting), errors.Is(err, ErrStaleFence):
			return false, nil
		case !errors.Is(err, ErrUnavailable):
			return false, r.leaveQueue(err)
		}
		p.log.Warn("an action that has got its keys can't begin yet", "action", h.id, "error", err)
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
			return false, r.leaveQueue(context.Cause(r.ctx))
		}
	}
}

// leaveQueue gives the action up, for a reason, which it returns.
func (r *run) leaveQueue(reason error) error {
	h := r.handle
	if !h.seal() { // Close has done it
		return reason
	}
	now, ok := r.peer.view.get(h.id)
	if !ok {
		return reason
	}
	state := "gave up waiting: " + reason.Error()
	rep := report{fence: now.Ticket, status: StatusFailed, state: &state}
	c := &change{id: h.id, apply: func(r *Record, at int64) error { return r.report(rep, at) }}
	if err := r.peer.commit(r.peer.ctx, c); err != nil && !errors.Is(err, ErrUnknown) {
		return errors.Join(reason, fmt.Errorf("take action %s from the queue: %w", h.id, err)) // the sweeper does it
	}
	return reason
}

// refusal says what an action waits for, as the refusal of its start would have.
func (p *Peer) refusal(id string, waited time.Duration) error {
	r, ok := p.view.get(id)
	if ok {
		for _, key := range r.Waits {
			if holder, held := p.view.get(p.view.holder(key)); held {
				return p.explain(p.ctx, &HeldError{Key: key, Holder: holder.Shown(), NotProvenDead: holder.workMayGoOn(), Waited: waited})
			}
		}
	}
	return fmt.Errorf("its turn did not come within %v: %s", waited, r.State)
}
