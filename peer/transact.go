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

// A beside has the keys that are to be considered in addition to those that the changes of a batch name.
type beside struct {
	busy map[string]bool // claimed by transactions that are still open
	keys []string        // that the plan of a light peer asked for
}

// errMore is returned when the plan of a light peer asks for keys that were not looked up.
var errMore = errors.New("more is to be read")

// transact runs one transaction.
func (m *committer) transact(ctx context.Context, b *batch, also *beside) error {
	m.deciding <- struct{}{} // held by others only while they read
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
	// A transaction that waited for the lock takes along the changes that came in that time. Otherwise a
	// peer among busy ones would give its turn to the first caller that has come back for more, and the
	// rest would wait for the next turn.
	need.Again = func() store.Batch {
		m.flight.join(b)
		return needs()
	}
	var d decision
	began := time.Now()
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
	switch {
	case err == nil:
		m.counters.committed(&d.plan.Tally, len(b.changes), time.Since(began), !d.writes.Empty())
		m.view.take(d.own)
		for _, dismissed := range d.plan.Dismissed {
			m.logDismissed(dismissed.Action, dismissed.By)
		}
	case !errors.Is(err, store.ErrBehind) && !errors.Is(err, errMore): // the others are tried once more
		m.view.expectOwn(0, 0)
		m.counters.fail()
	}
	return err
}

// decideByView decides by a full view.
func (m *committer) decideByView(l store.Loaded, b *batch, also *beside, reading time.Time) decision {
	// What others committed is on disk: it is published first, and then the
	// view is exact, because this transaction holds the write lock.
	m.view.apply(l.Page)
	m.counters.isExact(time.Now())
	m.flight.hasRead(reading)
	d := m.decide(m.view, l, b, also.busy)
	m.view.expectOwn(l.Seq, d.writes.Head)
	return d
}

// decideLight decides by what the transaction has read. The error is errMore if that is not enough.
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

// A decision is what a transaction is to do.
type decision struct {
	plan   *rules.Plan
	writes store.Writes
	own    store.Page // the same, as the feed will tell it
}

// decide applies the changes of a batch to what the store holds, which the picture has.
func (m *committer) decide(picture rules.Picture, l store.Loaded, b *batch, busy map[string]bool) decision {
	pl := rules.NewPlan(picture, l, busy, time.Now().UnixMilli(), m.limits)
	for _, s := range l.Starts {
		if l.NoStarts != nil {
			break
		}
		if err := pl.Adopt(s); err != nil {
			m.log.Error("a start is left where it is", "error", err)
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

// findable is false for what is no id of any action: a database would refuse the text itself, and
// with it the transaction of all the others.
func findable(id string) bool { return utf8.ValidString(id) && strings.IndexByte(id, 0) < 0 }

// needs says what the transaction of a batch has to read.
func (m *committer) needs(head store.Head, batch []*submission) store.Batch {
	b := needs(batch)
	b.Since = head.Seq
	for _, c := range batch {
		if c.Kind != rules.KindStart && c.Kind != rules.KindNudge {
			if _, known := m.view.Get(c.ID); !known && findable(c.ID) {
				b.Find = append(b.Find, c.ID)
			}
		}
	}
	return b
}

// lightNeeds is needs of a light peer.
func (m *committer) lightNeeds(batch []*submission, keys []string) store.Batch {
	b := needs(batch)
	b.Light, b.Keys = true, slices.Clone(keys)
	for _, c := range batch {
		switch c.Kind {
		case rules.KindStart:
			b.Keys = append(b.Keys, c.Action.Keys...)
			continue
		case rules.KindNudge:
			b.Keys = append(b.Keys, c.Wants...)
			continue
		case rules.KindReclaim:
			b.Keys = append(b.Keys, c.Action.Keys...)
		}
		if findable(c.ID) && !slices.Contains(b.Find, c.ID) {
			b.Find = append(b.Find, c.ID)
		}
	}
	return b
}

// needs says what a batch needs of any peer.
func needs(batch []*submission) (b store.Batch) {
	for _, c := range batch {
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
