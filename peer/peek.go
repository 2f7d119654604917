package peer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kettubot/kapi/internal/store"
)

// A light peer reads its own actions only if another peer has changed them, which the store tells it cheaply
// (store.Bell), or once in a lease, in case a wake-up was missed. If the store can't tell, it reads them at each
// call of peek, and listens for commits while one of its actions waits for keys, until the store can tell again.

// The pause between two looks while an action waits for keys is a part of the time that it has waited since its queue
// last moved, so the wait gets at most so much longer, but within these limits.
const (
	peekShare = 20
	peekMin   = 5 * time.Millisecond
	peekMax   = 250 * time.Millisecond
)

// A peeker knows when a light peer last read its own actions.
type peeker struct {
	runner string        // the peer's id
	every  time.Duration // how often the actions are read without a wake-up
	last   atomic.Pointer[peeked]
}

// A peeked is the store's mark for the runner from before a reading that succeeded.
type peeked struct {
	mark uint64
	at   time.Time
}

// rung returns the store's mark for this peer's runner.
func (f *follower) rung() (mark uint64, ok bool) {
	if bell, is := f.store.(store.Bell); is {
		return bell.Rung(f.light.runner)
	}
	return 0, false
}

// begin is called before the own actions are read. The returned function gets the outcome.
func (g *peeker) begin(f *follower) (done func(error)) {
	if f.follows.Load() { // it needs no marks; the keeper does while one of its actions waits
		return func(error) {}
	}
	mark, ok := f.rung()
	return func(err error) {
		if err != nil || !ok {
			g.last.Store(nil)
			return
		}
		g.last.Store(&peeked{mark, time.Now()})
	}
}

// isNews reports whether the own actions may have been changed by other peers since they were last read. mark is the
// store's mark now.
func (g *peeker) isNews(mark uint64) bool {
	last := g.last.Load()
	return last == nil || last.mark != mark || time.Since(last.at) >= g.every
}

// peek makes a light peer read its own actions if it has to. The sweeper calls it.
func (f *follower) peek() {
	if f.view.isFull() || len(f.ops.started(f.light.every)) == 0 && !f.ops.anyDoubt() && len(f.view.ids()) == 0 {
		return
	}
	if mark, known := f.rung(); !known || f.light.isNews(mark) {
		f.wake()
	}
}

// attend makes the peer notice soon when other peers change its actions, until the returned function is called.
func (f *follower) attend() (stop func()) {
	f.syncs.mu.Lock()
	defer f.syncs.mu.Unlock()
	ctx, stop := context.WithCancel(f.ctx)
	if !f.syncs.closed && !f.follows.Load() {
		f.spawn(func() { f.peekOften(ctx) })
	}
	return stop
}

func (f *follower) peekOften(ctx context.Context) {
	pause := time.NewTimer(peekMin)
	defer pause.Stop()
	deaf := func() {}
	defer func() { deaf() }()
	hears := false
	var before uint64
	for began := time.Now(); ; {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
		mark, known := f.rung()
		if known == hears { // listening takes more, for example a connection to the database
			deaf()
			if deaf, hears = func() {}, !known; hears {
				deaf = f.hear()
			}
		}
		if !known {
			pause.Reset(pollEvery)
			continue
		}
		if f.light.isNews(mark) {
			f.wake()
		}
		if mark != before {
			before, began = mark, time.Now() // the queue has moved: the turn may be near
		}
		pause.Reset(min(max(time.Since(began)/peekShare, peekMin), peekMax))
	}
}

// ears counts for how many purposes a peer listens. It is guarded by syncer.mu.
type ears struct {
	n    int
	stop context.CancelFunc
}

// hear lets commits of other peers wake this one, until the returned function is called.
func (f *follower) hear() (deaf func()) {
	f.syncs.mu.Lock()
	defer f.syncs.mu.Unlock()
	if f.syncs.closed {
		return func() {}
	}
	e := &f.ears
	if e.n++; e.n == 1 {
		ctx, stop := context.WithCancel(f.ctx)
		e.stop = stop
		f.spawn(func() { f.listen(ctx) })
	}
	return sync.OnceFunc(func() {
		f.syncs.mu.Lock()
		defer f.syncs.mu.Unlock()
		if e.n--; e.n == 0 {
			e.stop()
		}
	})
}

// listen passes on the store's wake-ups until ctx ends.
func (f *follower) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := f.store.Listen(ctx, f.wake); err != nil && ctx.Err() == nil {
			f.log.Warn("can't listen for changes; polling instead", "error", err)
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
		}
	}
}
