package peer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// A beside has the keys that a transaction must consider besides those that the changes of its batch name.
type beside struct {
	busy map[string]bool // keys that open transactions claim
	keys []string        // keys that the plan of a light peer asked for
}

// errMore is returned when the plan of a light peer asks for keys that were not looked up.
var errMore = errors.New("more keys have to be read")

// transact runs one transaction.
func (m *committer) transact(ctx context.Context, b *batch, also *beside) error {
	m.deciding <- struct{}{} // a reload holds it only while it reads
	defer func() { <-m.deciding }()
	var head store.Head
	full := m.view.isFull()
	needs := func() store.Batch {
		head = m.view.at()
		if !full {
			return m.lightNeeds(b.changes, also.keys)
		}
		return m.needs(head, b.changes)
	}
	need, reading := needs(), time.Now()
	// A transaction that has waited for the lock includes the changes that arrived meanwhile. Otherwise,
	// among busy peers, a turn would go to the first caller that comes back, and all others would have to
	// wait for the next turn.
	began := time.Now()
	need.Again = func() store.Batch {
		b.waited = time.Since(began)
		m.flight.join(b)
		return needs()
	}
	var d decision
	err := m.store.Commit(ctx, need, func(l store.Loaded) (_ store.Writes, err error) {
		if l.Epoch != head.Epoch || l.Seq < head.Seq {
			return store.Writes{}, store.ErrBehind
		}
		if err := errors.Join(tidyPage(&l.Page), tidyAll(l.Found)); err != nil {
			return store.Writes{}, err
		}
		if full {
			d = m.decideByView(l, b, also, reading)
		} else {
			d, err = m.decideLight(l, b, also)
		}
		return d.writes, err
	})
	b.took = time.Since(began)
	switch {
	case err == nil:
		m.counters.committed(&d.plan.Tally, len(b.changes), b.took, !d.writes.Empty())
		m.view.take(d.own)
		for _, dismissed := range d.plan.Dismissed {
			m.logDismissed(dismissed.Action, dismissed.By)
		}
	case !errors.Is(err, store.ErrBehind) && !errors.Is(err, errMore): // after those two it is tried again
		m.view.expectOwn(0, 0)
		m.counters.fail()
	}
	return err
}

// decideByView decides by a full view.
func (m *committer) decideByView(l store.Loaded, b *batch, also *beside, reading time.Time) decision {
	// Other peers' commits are on disk, so they are published first. Then the view is exact, because this
	// transaction holds the write lock.
	m.view.apply(l.Page)
	m.counters.isExact(time.Now())
	m.flight.hasRead(reading)
	d := m.decide(m.view, l, b, also.busy)
	m.view.expectOwn(l.Seq, d.writes.Head)
	return d
}

// decideLight decides by what the transaction has read. It returns errMore if that is not enough.
func (m *committer) decideLight(l store.Loaded, b *batch, also *beside) (decision, error) {
	m.view.applyOwn(l.Head, l.Found)
	part := rules.NewPartial(&l)
	d := m.decide(part, l, b, also.busy)
	if missing := part.Missing(); len(missing) > 0 {
		also.keys = append(also.keys, missing...)
		return decision{}, errMore
	}
	return d, nil
}

// A decision is what a transaction has to do.
type decision struct {
	plan   *rules.Plan
	writes store.Writes
	own    store.Page // the same, as a page of the feed
}

// decide applies the changes of a batch to the picture of the store.
func (m *committer) decide(picture rules.Picture, l store.Loaded, b *batch, busy map[string]bool) decision {
	pl := rules.NewPlan(picture, l, busy, time.Now().UnixMilli(), m.limits)
	for _, s := range l.Starts {
		if l.NoStarts != nil {
			break
		}
		if err := pl.Adopt(s); err != nil {
			m.log.Error("a recorded start can't be adopted", "error", err)
		}
	}
	for _, c := range b.changes {
		c.Outcome = pl.Add(&c.Change)
	}
	w, records := pl.Writes()
	if len(w.Insert) > 0 {
		w.Runners = append(w.Runners, m.runner())
	}
	return decision{pl, w, store.Page{Head: store.Head{Epoch: l.Epoch, Seq: w.Head}, Records: records}}
}

// findable is false for a text that can't be an id. PostgreSQL would refuse it, and with it the
// whole transaction.
func findable(id string) bool { return utf8.ValidString(id) && strings.IndexByte(id, 0) < 0 }

// needs returns what the transaction of a batch has to read for a full peer.
func (m *committer) needs(head store.Head, batch []*submission) store.Batch {
	b := needs(batch)
	b.Since = head.Seq
	for _, c := range batch {
		id := c.ID
		switch c.Kind {
		case rules.KindNudge:
			continue
		case rules.KindStart:
			id = continues(c)
		}
		if _, known := m.view.Get(id); !known && id != "" && findable(id) {
			b.Find = append(b.Find, id)
		}
	}
	return b
}

// lightNeeds returns what the transaction of a batch has to read for a light peer.
func (m *committer) lightNeeds(batch []*submission, keys []string) store.Batch {
	b := needs(batch)
	b.Light, b.Keys = true, slices.Clone(keys)
	for _, c := range batch {
		switch c.Kind {
		case rules.KindStart:
			b.Keys = append(b.Keys, c.Action.Keys...)
			if d := c.Action.Defined; d != nil && !d.Unclaimed && d.Limit > 0 {
				b.Keys = append(b.Keys, store.TurnNames(c.Action.Operation, d.Limit)...)
			}
			if id := continues(c); id != "" && !slices.Contains(b.Find, id) {
				b.Find = append(b.Find, id)
			}
			continue
		case rules.KindNudge:
			b.Keys = append(append(b.Keys, c.Wants...), c.Stalled...)
			continue
		case rules.KindReclaim:
			b.Keys = append(b.Keys, c.Action.Keys...)
		case rules.KindReport:
			if own, ok := m.view.Get(c.ID); ok && c.Report.Status != 0 { // it may free its keys
				b.Keys = append(append(b.Keys, own.Holds()...), own.Waits...)
				if d := own.Defined; d != nil && d.Turn > 0 {
					b.Keys = append(b.Keys, store.TurnsKey(own.Operation))
				}
			}
		}
		if findable(c.ID) && !slices.Contains(b.Find, c.ID) {
			b.Find = append(b.Find, c.ID)
		}
	}
	return b
}

// continues returns the id of the failed action that a start continues, "" if there is none.
func continues(c *submission) string {
	if c.Action.Defined == nil {
		return ""
	}
	return c.Action.Defined.Continues
}

// needs returns what the transaction of a batch has to read for any peer.
func needs(batch []*submission) (b store.Batch) {
	for _, c := range batch {
		if c.Asked != nil {
			b.Requests = append(b.Requests, c.Asked.Request)
		}
		if c.Runner != "" {
			b.Runners = append(b.Runners, c.Runner)
		}
		switch c.Kind {
		case rules.KindNudge:
			b.Nudges++
		case rules.KindVerdict, rules.KindVacate: // the next runner must be able to read the checkpoints
			b.Marks = append(b.Marks, c.ID)
		}
	}
	return b
}
