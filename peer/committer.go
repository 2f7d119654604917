package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// maxBatch is how many changes go into one transaction at most. Larger ones no longer
// spread an fsync thinner, but keep everybody else from the write lock for longer.
const maxBatch = 256

// A submission is one caller's change on its way through the committer, and what became of it.
type submission struct {
	rules.Change
	// The outcome, once done is closed.
	rules.Outcome
	// then, if it is not nil, is called with the outcome.
	then func()

	taken atomic.Bool // by the committer, or by a caller that withdraws
	left  bool        // the caller no longer waits; guarded by the flight
	done  chan struct{}
}

func submissionOf(c rules.Change) *submission { return &submission{Change: c} }

// A committer is group commit: it takes the changes that wait into one transaction, in which the rules
// are applied to them.
type committer struct {
	store    store.Store
	view     *view
	flight   flight
	counters *counters
	log      *slog.Logger
	timeout  time.Duration // Options.StoreTimeout
	limits   rules.Limits

	ctx      context.Context           // ends with the peer
	runner   func() store.RunnerRecord // what is to be kept of this process
	reclaims func() []*submission      // what the history has lost, to be put back before all else
	reload   func() error              // replaces the view

	submit chan *submission
	// deciding is held while a transaction decides by the view, so that nobody
	// replaces the view under it.
	deciding sync.Mutex
}

// commit hands a change to the committer and waits for the outcome.
func (m *committer) commit(ctx context.Context, c *submission) error {
	if err := m.enqueue(ctx, c); err != nil {
		return err
	}
	return m.wait(ctx, c)
}

// enqueue hands a change to the committer; changes are applied in this order.
func (m *committer) enqueue(ctx context.Context, c *submission) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	c.done = make(chan struct{})
	select {
	case m.submit <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-m.ctx.Done():
		return kapi.ErrClosed
	}
}

// wait waits for the outcome. When ctx ends before the committer took the change it is
// withdrawn; afterwards the outcome is waited for, because it may be on disk already. A
// transaction that nobody wants any more is given up, if it still can be.
func (m *committer) wait(ctx context.Context, c *submission) error {
	select {
	case <-c.done:
		return c.Err
	case <-ctx.Done():
		if c.taken.CompareAndSwap(false, true) {
			return context.Cause(ctx)
		}
		m.flight.leave(c)
	case <-m.ctx.Done():
		if c.taken.CompareAndSwap(false, true) {
			return kapi.ErrClosed
		}
	}
	<-c.done
	if errors.Is(c.Err, errLeft) {
		return context.Cause(ctx)
	}
	return c.Err
}

// loop takes what is waiting into one transaction, again and again.
func (m *committer) loop() {
	changes := make([]*submission, 0, maxBatch)
	for {
		b := &batch{changes: changes[:0], more: m.submit}
		select {
		case c := <-m.submit:
			b.take(c)
		case <-m.ctx.Done():
			return
		}
		b.fill()
		m.commitBatch(b)
	}
}

// errPanicked answers those whose transaction panicked.
var errPanicked = fmt.Errorf("%w: %w: kapi itself has failed", kapi.ErrUnavailable, kapi.ErrOutcomeUnknown)

func (m *committer) commitBatch(b *batch) {
	if len(b.changes) == 0 {
		return
	}
	defer func() { // a panic takes its way, but leaves nobody waiting
		for _, c := range b.changes {
			c.answerLast(errPanicked)
		}
	}()
	b.begin(m.reclaims())
	err := m.tryCommit(b)
	if errors.Is(err, store.ErrKeyTaken) {
		// The view missed a holder, which can't be; but then the database is right.
		m.log.Error("the store refused a key that was thought free; trying the changes one by one")
		for _, c := range b.changes {
			if err := m.reload(); err != nil {
				c.answer(err)
			} else {
				c.answer(m.tryCommit(&batch{changes: []*submission{c}}))
			}
		}
		return
	}
	for _, c := range b.changes {
		c.answer(err)
	}
}

// answer tells the caller of the outcome; err is that of the whole transaction.
func (c *submission) answer(err error) {
	if err != nil {
		c.Err = err
	}
	if c.then != nil {
		c.then()
	}
	close(c.done)
}

// answerLast answers a change that has no answer yet.
func (c *submission) answerLast(err error) {
	select {
	case <-c.done:
	default:
		c.answer(err)
	}
}

// tryCommit runs one transaction, and again if the view turns out to be of another time than the
// store, or if keys turn out to be claimed by transactions that are open.
func (m *committer) tryCommit(b *batch) error {
	ctx, cancel := context.WithTimeout(m.ctx, m.timeout)
	defer cancel()
	ctx, land := m.flight.board(ctx, b)
	defer land()
	err := m.transactUpToDate(ctx, b)
	if err != nil && errors.Is(context.Cause(ctx), errLeft) && !errors.Is(err, kapi.ErrOutcomeUnknown) {
		return errLeft
	}
	if err != nil && ctx.Err() != nil && !errors.Is(err, kapi.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", kapi.ErrUnavailable, err)
	}
	return err
}

// transactUpToDate runs a transaction until the view is that of the store, and the busy keys are
// known.
func (m *committer) transactUpToDate(ctx context.Context, b *batch) error {
	busy := map[string]bool{}
	for reloads := 0; ; {
		err := m.transact(ctx, b, busy)
		var claimed *store.BusyError
		switch {
		case errors.Is(err, store.ErrBehind) && reloads < maxReloads:
			reloads++
			if err := m.reload(); err != nil {
				return err
			}
			b.begin(m.reclaims())
		case errors.Is(err, store.ErrBehind): // the history changes, again and again
			return fmt.Errorf("%w: %w", kapi.ErrUnavailable, err)
		case errors.As(err, &claimed) && !busy[claimed.Keys[0]]:
			for _, key := range claimed.Keys {
				busy[key] = true
			}
		default:
			return err
		}
	}
}

// maxReloads is how often the view is replaced for one transaction: through a failover the history
// may change more than once.
const maxReloads = 3

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
	var own store.Page
	done := &rules.Tally{}
	var dismissed []rules.Dismissal
	wrote, began := false, time.Now()
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
		dismissed = pl.Dismissed
		done, wrote = &pl.Tally, !w.Empty()
		m.view.expectOwn(l.Seq, w.Head)
		own = store.Page{Head: store.Head{Epoch: l.Epoch, Seq: w.Head}, Records: records}
		return w, nil
	})
	switch {
	case err == nil:
		m.counters.committed(done, len(b.changes), time.Since(began), wrote)
		m.view.apply(own)
		for _, d := range dismissed {
			m.logDismissed(d.Action, d.By)
		}
	case !errors.Is(err, store.ErrBehind): // it is tried once more then
		m.view.expectOwn(0, 0)
		m.counters.fail()
	}
	return err
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

// still calls f while no transaction decides by the view.
func (m *committer) still(f func() error) error {
	m.deciding.Lock()
	defer m.deciding.Unlock()
	return f()
}

func (m *committer) logDismissed(a kapi.Action, by string) {
	m.log.Info("action dismissed", "action", a.ID, "title", a.Title, "by", "the start of "+by, "why_it_failed", a.State)
}

// nudge has the committer adopt what transactions have recorded, and give keys to those who wait
// for them, as every write transaction does.
func (m *committer) nudge() {
	ctx, cancel := context.WithTimeout(m.ctx, m.timeout)
	defer cancel()
	if err := m.commit(ctx, submissionOf(rules.Change{Kind: rules.KindNudge})); err != nil && m.ctx.Err() == nil {
		m.log.Warn("what was recorded in transactions, or waits for one, can't be seen to yet", "error", err)
	}
}
