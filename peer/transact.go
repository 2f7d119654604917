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
	find []string        // ids of actions that it asked for
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
			return m.lightNeeds(b.changes, also)
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
	more := slices.DeleteFunc(part.Continued(), func(id string) bool { return slices.Contains(also.find, id) })
	if also.find = append(also.find, more...); len(more) > 0 {
		return decision{}, errMore
	}
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
	claims := false
	for _, c := range b.changes {
		c.Outcome = pl.Add(&c.Change)
		claims = claims || c.Kind == rules.KindClaim && c.Changed
	}
	w, records := pl.Writes()
	if len(w.Insert) > 0 || claims {
		w.Runners = append(w.Runners, m.runner())
	}
	return decision{pl, w, store.Page{Head: store.Head{Epoch: l.Epoch, Seq: w.Head}, Records: records}}
}

// findable is false for a text that can't be an id. PostgreSQL would refuse it, and with it the
// whole transaction.
func findable(id string) bool { return utf8.ValidString(id) && strings.IndexByte(id, 0) < 0 }

// needs returns what the transaction of a batch has to read for a full peer.
func (m *committer) needs(head store.Head, batch []*submission) store.Batch {
	b := m.needed(batch)
	b.Since = head.Seq
	for _, c := range batch {
		if id := continues(&c.Change); id != "" {
			if _, known := m.view.Get(id); !known {
				b.Find = append(b.Find, id)
			}
		}
		if c.Kind != rules.KindStart && c.Kind != rules.KindNudge {
			if _, known := m.view.Get(c.ID); !known && findable(c.ID) {
				b.Find = append(b.Find, c.ID)
			}
		}
	}
	return b
}

// lightNeeds returns what the transaction of a batch has to read for a light peer.
func (m *committer) lightNeeds(batch []*submission, also *beside) store.Batch {
	b := m.needed(batch)
	b.Light, b.Keys, b.Find = true, slices.Clone(also.keys), slices.Clone(also.find)
	for _, c := range batch {
		if id := continues(&c.Change); id != "" && !slices.Contains(b.Find, id) {
			b.Find = append(b.Find, id)
		}
		switch c.Kind {
		case rules.KindStart:
			b.Keys = append(b.Keys, rules.Lookups(c.Action)...)
			continue
		case rules.KindNudge:
			b.Keys = append(append(b.Keys, c.Wants...), c.Stalled...)
			continue
		case rules.KindReclaim, rules.KindClaim:
			b.Keys = append(b.Keys, rules.Lookups(c.Action)...)
		case rules.KindReport:
			if own, ok := m.view.Get(c.ID); ok && c.Report.Status != 0 { // it may free its keys
				b.Keys = append(b.Keys, rules.Lookups(&own)...)
			}
		}
		if findable(c.ID) && !slices.Contains(b.Find, c.ID) {
			b.Find = append(b.Find, c.ID)
		}
	}
	return b
}

// continues returns the id of the failed action that a start continues, or "". The transaction must find it.
func continues(c *rules.Change) string {
	if c.Kind != rules.KindStart || c.Action.Defined == nil || !findable(c.Action.Defined.Continues) {
		return ""
	}
	return c.Action.Defined.Continues
}

// needed returns what the transaction of a batch has to read for any peer.
func (m *committer) needed(batch []*submission) (b store.Batch) {
	for _, c := range batch {
		if m.needsMark(&c.Change) {
			b.Marks = append(b.Marks, c.ID)
		}
		if c.Asked != nil {
			b.Requests = append(b.Requests, c.Asked.Request)
		}
		if c.Runner != "" {
			b.Runners = append(b.Runners, c.Runner)
		}
		if c.Kind == rules.KindNudge {
			b.Nudges++
		}
	}
	return b
}

// needsMark reports whether a change may make an action vacant, so that its checkpoints matter.
func (m *committer) needsMark(c *rules.Change) bool {
	switch c.Kind {
	case rules.KindVacate:
		return findable(c.ID)
	case rules.KindVerdict:
		r, known := m.view.Get(c.ID)
		return findable(c.ID) && (!known || r.Defined != nil)
	}
	return false
}
