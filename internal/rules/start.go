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
	ahead := pl.ahead(c.Action.Keys)
	b, dismissed := pl.blocked(c.Action.Keys, c.DismissFailed, ahead)
	if b != nil {
		b = cmp.Or(pl.circular(c.Action.Keys, c.Within), b)
	}
	if b != nil && c.Wait && !b.circular {
		o.Record = pl.enqueue(c, ahead.told(b))
		pl.heard(&o.Record)
		return pl.keepAnswer(c, o)
	}
	if b != nil {
		if b.holder != nil && !c.Unjudged {
			pl.Tally.Refused = append(pl.Tally.Refused, b.key)
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
	o.Record = pl.put(pl.born(c.Action))
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
	r = pl.born(&r)
	r.Ticket = r.Fence
	pl.put(r)
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
	if b, _ := pl.blocked(next.Keys, false, wanted{}); b != nil {
		o.LostTo, next.Keys = b.refusal(), nil
	}
	touch(&next, pl.now, true)
	o.Record = pl.put(next)
	pl.Tally.Starts-- // it was counted when it began
	return nil
}

// enqueue adds an action that waits for its keys.
func (pl *Plan) enqueue(c *Change, b *block) store.Record {
	r := pl.born(c.Action)
	r.Status, r.StartedAt = kapi.StatusPending, 0
	r.Waits, r.Keys = r.Keys, nil
	r.Ticket, r.DismissFailed = r.Fence, c.DismissFailed
	b.explain(&r)
	return pl.put(r)
}
