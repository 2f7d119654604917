package peer

import (
	"context"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// transact runs one transaction. In busy are keys that transactions claim which are still open.
func (m *committer) transact(ctx context.Context, b *batch, busy map[string]bool) error {
	m.deciding.Lock()
	defer m.deciding.Unlock()
	var head store.Head
	needs := func() store.Batch {
		head = m.view.at()
		return m.needs(head, b.changes)
	}
	need, reading := needs(), time.Now()
	// Who waited for the lock takes along what came in that time. Otherwise a peer among busy ones
	// would give its turn to the first that has come back for more, and the rest would wait for the
	// next one.
	need.Again = func() store.Batch {
		m.flight.join(b)
		return needs()
	}
	var d decision
	began := time.Now()
	err := m.store.Commit(ctx, need, func(l store.Loaded) (store.Writes, error) {
		if l.Epoch != head.Epoch || l.Seq < head.Seq {
			return store.Writes{}, store.ErrBehind
		}
		if err := errors.Join(tidyPage(&l.Page), tidyAll(l.Found)); err != nil {
			return store.Writes{}, err
		}
		// What others committed is on disk: it is published first, and then the
		// view is exact, for we hold the write lock.
		m.view.apply(l.Page)
		m.flight.hasRead(reading)
		d = m.decide(l, b, busy)
		m.view.expectOwn(l.Seq, d.writes.Head)
		return d.writes, nil
	})
	switch {
	case err == nil:
		m.counters.committed(&d.plan.Tally, len(b.changes), time.Since(began), !d.writes.Empty())
		m.view.apply(d.own)
		for _, dismissed := range d.plan.Dismissed {
			m.logDismissed(dismissed.Action, dismissed.By)
		}
	case !errors.Is(err, store.ErrBehind): // it is tried once more then
		m.view.expectOwn(0, 0)
		m.counters.fail()
	}
	return err
}

// A decision is what a transaction is to do.
type decision struct {
	plan   *rules.Plan
	writes store.Writes
	own    store.Page // the same, as the feed will tell it
}

// decide applies the changes of a batch to what the store holds, which the view has.
func (m *committer) decide(l store.Loaded, b *batch, busy map[string]bool) decision {
	now := time.Now()
	m.counters.isExact(now)
	pl := rules.NewPlan(m.view, l, busy, now.UnixMilli(), m.limits)
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
	b := store.Batch{Since: head.Seq}
	for _, c := range batch {
		if c.Kind != rules.KindStart && c.Kind != rules.KindNudge {
			if _, known := m.view.Get(c.ID); !known && findable(c.ID) {
				b.Find = append(b.Find, c.ID)
			}
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
