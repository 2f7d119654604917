package rules

import (
	"cmp"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// The three ways in which an action gets into a store: a start, a start that an embedder recorded in its
// own transaction, and an action that is put back after the store lost it.

// start adds a record with all its keys, or queues it for them, or refuses it.
func (pl *Plan) start(c *Change, o *Outcome) error {
	if done, err := pl.answered(c, o); done {
		return err
	}
	if pl.noStarts != nil {
		return pl.noStarts
	}
	if err := pl.continuable(c.Action); err != nil {
		return err
	}
	if d := c.Action.Defined; d != nil && d.Unclaimed {
		o.Record = pl.record(c.Action)
		return pl.entered(c, o)
	}
	n := needOf(c.Action)
	ahead := pl.ahead(n.names())
	b, dismissed := pl.blocked(n, c.DismissFailed, ahead)
	if b != nil {
		b = cmp.Or(pl.circular(n, c.Within), b)
	}
	if b != nil && c.Wait && !b.circular {
		o.Record = pl.enqueue(c, n, ahead.told(b))
		return pl.entered(c, o)
	}
	if b != nil {
		if b.holder != nil && !c.Unjudged {
			pl.Tally.Refused = append(pl.Tally.Refused, b.name())
		}
		return b.refusal()
	}
	for _, holder := range dismissed {
		next := *holder
		o.Dismissed = append(o.Dismissed, holder.Shown())
		if err := dismiss(&next, pl.now); err != nil {
			return err
		}
		pl.put(next)
	}
	r := *c.Action
	if failed := pl.inherit(&r); failed != nil {
		o.Dismissed = append(o.Dismissed, failed.Shown())
	}
	pl.hold(&r, n)
	if r = pl.born(&r); r.Defined != nil && r.Status == kapi.StatusPending {
		r.Ticket = r.Fence // it is like one that has got its keys and has not begun
	}
	o.Record = pl.put(r)
	return pl.entered(c, o)
}

// entered is done for each new action.
func (pl *Plan) entered(c *Change, o *Outcome) error {
	pl.save(o.Record.ID, c.Saved)
	pl.heard(&o.Record)
	return pl.keepAnswer(c, o)
}

// born fills in the times and the fence of a new record.
func (pl *Plan) born(r *store.Record) store.Record {
	next := *r
	next.CreatedAt, next.UpdatedAt = pl.now, pl.now
	if next.Status == kapi.StatusRunning {
		next.StartedAt = pl.now
	}
	if next.Runner != nil {
		runner := *next.Runner
		runner.HeardAt = pl.now
		next.Runner = &runner
	}
	next.Fence = pl.seq + 1
	return next
}

// Adopt adds the action of a recorded start.
func (pl *Plan) Adopt(s store.RecordedStart) error {
	r, err := s.Record()
	if err != nil {
		return err
	}
	pl.adopted = append(pl.adopted, s.ID)
	for _, key := range s.Keys {
		pl.claimed[key] = s.ID
	}
	pl.record(&r)
	return nil
}

// reclaim puts back a record that the store has lost.
func (pl *Plan) reclaim(c *Change, o *Outcome) error {
	if old := pl.lookup(c.Action.ID); old != nil {
		o.Record = *old
		if !old.Status.Ongoing() {
			return kapi.ErrUnknown
		}
		return errUnchanged
	}
	if pl.noStarts != nil {
		return pl.noStarts
	}
	next := *c.Action
	next.Silence = ""
	pl.seq = max(pl.seq, next.Seq, next.Fence) // so that new fences are above the lost ones too
	// It is running, so it goes before waiting actions.
	n := need{keys: next.Keys}
	if d := next.Defined; d != nil && d.Turn != 0 {
		n.operation, n.limit = next.Operation, d.Limit
	}
	freeTurnOf(&next)
	if b, _ := pl.blocked(n, false, wanted{}); b != nil {
		o.LostTo, next.Keys = b.refusal(), nil
	} else if turn, _ := pl.freeTurn(n); turn != 0 {
		define(&next, func(d *store.Defined) { d.Turn = turn })
	}
	touch(&next, pl.now, true)
	pl.save(next.ID, c.Saved)
	o.Record = pl.put(next)
	pl.Tally.Starts-- // it was counted when it began
	return nil
}

// enqueue adds an action that waits for what it needs.
func (pl *Plan) enqueue(c *Change, n need, b *block) store.Record {
	r := pl.born(c.Action)
	r.Status, r.StartedAt = kapi.StatusPending, 0
	queueFor(&r, n)
	r.Ticket, r.DismissFailed = r.Fence, c.DismissFailed
	b.explain(&r)
	return pl.put(r)
}
