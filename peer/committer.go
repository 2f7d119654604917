package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// A committer does group commit: it applies the rules to all waiting changes in one transaction.
type committer struct {
	store    store.Store
	view     *view
	flight   flight
	counters *counters
	log      *slog.Logger
	timeout  time.Duration // Options.StoreTimeout
	limits   rules.Limits

	ctx      context.Context           // ends with the peer
	runner   func() store.RunnerRecord // this process's record in the store
	reclaims func() []*submission      // put back what the history has lost, before everything else
	reload   func() error              // replaces the view

	submit chan *submission
	// deciding is held while a transaction decides by the view, so that the view is not replaced
	// meanwhile.
	deciding chan struct{} // holds one
}

// commit hands a change to the committer and waits for the outcome.
func (m *committer) commit(ctx context.Context, c *submission) error {
	if err := m.send(ctx, c); err != nil {
		return err
	}
	return m.wait(ctx, c)
}

// send hands a change to the committer. Changes are applied in the order in which they are sent.
func (m *committer) send(ctx context.Context, c *submission) error {
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

// wait waits for the outcome. If ctx ends before the committer takes the change, wait withdraws it.
// Once the committer has taken it, wait returns only when the outcome is known, because the change may be
// on disk already. If all callers of a transaction have left, it is abandoned, if that is still possible.
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

// loop commits the waiting changes, one transaction after the other, until the peer's context ends.
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

// errPanicked is the outcome of changes whose transaction panicked.
var errPanicked = fmt.Errorf("%w: %w: kapi itself has failed", kapi.ErrUnavailable, kapi.ErrOutcomeUnknown)

func (m *committer) commitBatch(b *batch) {
	if len(b.changes) == 0 {
		return
	}
	defer func() { // if this panics, every caller still gets an answer
		for _, c := range b.changes {
			c.answerLast(errPanicked)
		}
	}()
	b.begin(m.reclaims())
	err := m.tryCommit(b)
	if errors.Is(err, store.ErrKeyTaken) {
		// The view lacks a holder. That should be impossible, but the database is right.
		m.log.Error("the store refused a key that is free in the view; trying the changes one by one")
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
		c.waited, c.took = b.waited, b.took
		c.answer(err)
	}
}

// tryCommit commits a batch. It runs the transaction again if the view doesn't match the store, or if
// open transactions claim some of the keys.
func (m *committer) tryCommit(b *batch) error {
	ctx, cancel := store.WithPatience(m.ctx, m.timeout)
	defer m.flight.board(ctx, cancel, b)()
	err := m.transactUpToDate(ctx, b)
	if err != nil && errors.Is(context.Cause(ctx), errLeft) && !errors.Is(err, kapi.ErrOutcomeUnknown) {
		return errLeft
	}
	if err != nil && ctx.Err() != nil && !errors.Is(err, kapi.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", kapi.ErrUnavailable, err)
	}
	return err
}

// transactUpToDate runs a transaction again until the view matches the store, and all busy keys and
// all keys that a light peer's plan needs are known.
func (m *committer) transactUpToDate(ctx context.Context, b *batch) error {
	also := &beside{busy: map[string]bool{}}
	for reloads := 0; ; {
		err := m.transact(ctx, b, also)
		var claimed *store.BusyError
		switch {
		case errors.Is(err, store.ErrBehind) && reloads < maxReloads:
			reloads++
			if err := m.reload(); err != nil {
				return err
			}
			b.begin(m.reclaims())
		case errors.Is(err, store.ErrBehind): // the history keeps changing
			return fmt.Errorf("%w: %w", kapi.ErrUnavailable, err)
		case errors.Is(err, errMore): // ends, because each time fewer keys are missing
		case errors.As(err, &claimed) && !also.busy[claimed.Keys[0]]:
			for _, key := range claimed.Keys {
				also.busy[key] = true
			}
		default:
			return err
		}
	}
}

// maxReloads is how often the view is reloaded for one transaction. During a failover the history may
// change more than once.
const maxReloads = 3

// still calls f while no transaction decides by the view.
func (m *committer) still(ctx context.Context, f func() error) error {
	select {
	case m.deciding <- struct{}{}:
		defer func() { <-m.deciding }()
		return f()
	case <-ctx.Done():
		return fmt.Errorf("%w: a change is under way: %w", kapi.ErrUnavailable, context.Cause(ctx))
	}
}

func (m *committer) logDismissed(a kapi.Action, by string) {
	m.log.Info("action dismissed", "action", a.ID, "title", a.Title, "by", "the start of "+by, "why_it_failed", a.State)
}

// nudge commits an empty change. Like every write transaction it adopts recorded starts.
func (m *committer) nudge() { m.grant(nil) }

// grant is like nudge, and gives keys, as far as they are free, to the actions that wait for them.
func (m *committer) grant(stalled []string) {
	if err := m.commit(m.ctx, submissionOf(rules.Change{Kind: rules.KindNudge, Stalled: stalled})); err != nil && m.ctx.Err() == nil {
		m.log.Warn("recorded starts can't be adopted, or free keys not be granted, yet", "error", err)
	}
}
