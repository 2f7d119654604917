package rules

import (
	"cmp"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// The three ways by which an action comes into a store: a start, a start that a transaction of an
// embedder's own has recorded, and one that a lost history is given back.

// start gives the new record all its keys or none, or a place in the queue for them.
func (pl *Plan) start(c *Change, o *Outcome) error {
	if done, err := pl.answered(c, o); done {
		return err
	}
	if pl.noStarts != nil {
		return pl.noStarts
	}
	b, dismissed := pl.blocked(c.Action.Keys, c.DismissFailed, pl.ahead())
	if b != nil {
		b = cmp.Or(pl.circular(c.Action.Keys, c.Within), b)
	}
	if b != nil && c.Wait && !b.circular {
		o.Record = pl.enqueue(c, b)
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

// born completes the record of a start.
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

// Adopt gives a recorded start its seq.
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

// reclaim puts a record back.
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
	pl.seq = max(pl.seq, next.Seq, next.Fence) // fences grow, also over those that were lost
	// It runs, so it goes before those who wait.
	if b, _ := pl.blocked(next.Keys, false, wanted{}); b != nil {
		o.LostTo, next.Keys = b.refusal(), nil
	}
	touch(&next, pl.now, true)
	o.Record = pl.put(next)
	pl.Tally.Starts-- // it was counted when it began
	return nil
}

// enqueue adds an action that waits.
func (pl *Plan) enqueue(c *Change, b *block) store.Record {
	r := pl.born(c.Action)
	r.Status, r.StartedAt = kapi.StatusPending, 0
	r.Waits, r.Keys = r.Keys, nil
	r.Ticket, r.DismissFailed = r.Fence, c.DismissFailed
	b.explain(&r)
	return pl.put(r)
}
