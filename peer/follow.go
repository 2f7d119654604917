package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

const (
	// pollEvery is how often the store is read without a wake-up, in case one was missed.
	pollEvery = time.Second
	// lookSoon is the pause before the first new attempt to read a store that could not be read.
	lookSoon = 100 * time.Millisecond
	// followPause is the shortest pause between two reads of the feed.
	followPause = 2 * time.Millisecond
)

// A follower keeps the view up to date with the commits of other peers: the whole view of a full peer, the
// own actions of a light one.
type follower struct {
	store    store.Store
	view     *view
	counters *counters
	log      *slog.Logger
	timeout  time.Duration // of one read

	ctx      context.Context            // ends with the peer
	spawn    func(func())               // in the background of the peer
	inFlight func(context.Context) bool // flight.reads
	// still calls a function while no transaction decides by the view.
	still      func(context.Context, func() error) error
	found      func(recorded []string) // gets the ids of starts to adopt
	ops        *operations
	unreadable func() // called when the store can't be read
	nudge      func() // puts back actions that the history lacks

	syncs  syncer
	secret atomic.Pointer[[]byte] // the store's
	wakes  chan struct{}          // holds one
	// poll ticks while the peer follows the feed.
	poll *time.Ticker
	// filling is held while the view is made a full or a light one.
	filling chan struct{} // holds one
	// follows is set once the view is a full one for good, and follows the feed.
	follows atomic.Bool
	light   peeker
	ears    ears
}

func (f *follower) init() {
	f.wakes = make(chan struct{}, 1)
	f.filling = make(chan struct{}, 1)
	f.poll = time.NewTicker(pollEvery)
	f.poll.Stop()
}

// fill makes the view a full one, if it isn't. If forGood is set, it follows the feed from now on; otherwise the
// caller calls catchUp, and lighten in the end.
func (f *follower) fill(ctx context.Context, forGood bool) error {
	if f.follows.Load() {
		return nil
	}
	select {
	case f.filling <- struct{}{}:
		defer func() { <-f.filling }()
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-f.ctx.Done():
		return kapi.ErrClosed
	}
	if f.follows.Load() || !forGood && f.view.isFull() {
		return nil
	}
	deaf := func() {}
	if forGood {
		deaf = f.hear() // first, so that nothing is missed
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if err := f.fillNow(ctx); err != nil {
		deaf()
		return fmt.Errorf("read the store: %w", err)
	}
	if forGood {
		f.poll.Reset(pollEvery)
		f.follows.Store(true)
	}
	return nil
}

func (f *follower) fillNow(ctx context.Context) error {
	if f.view.isFull() {
		return f.catchUp(ctx)
	}
	return f.still(ctx, func() error { return f.load(ctx) })
}

// lighten makes the view a light one again, unless it follows the feed.
func (f *follower) lighten() {
	select {
	case f.filling <- struct{}{}:
		defer func() { <-f.filling }()
	case <-f.ctx.Done():
		return
	}
	if f.follows.Load() || !f.view.isFull() {
		return
	}
	_ = f.still(f.ctx, func() error {
		f.view.lighten(f.ops.ids(nil))
		return nil
	})
}

func (f *follower) wake() {
	select {
	case f.wakes <- struct{}{}:
	default:
	}
}

// loop follows the commits of other peers until the peer's context ends.
func (f *follower) loop() {
	var soon <-chan time.Time
	reachable := true
	for last := (time.Time{}); ; last = time.Now() {
		select {
		case <-soon:
		case <-f.wakes:
			f.rest(time.Until(last.Add(followPause)))
			if f.view.isFull() && f.inFlight(f.ctx) {
				continue
			}
		case <-f.poll.C:
		case <-f.ctx.Done():
			return
		}
		noted := f.light.begin(f)
		err := f.catchUp(f.ctx)
		noted(err)
		if f.ctx.Err() == nil && (err == nil) != reachable {
			reachable = err == nil
			if reachable {
				f.log.Info("the store can be read again")
			} else {
				f.log.Warn("the store can't be read; changes by other processes are not seen", "error", err)
				// If the store was removed, the next write creates it again. This renewal is such a write.
				f.unreadable()
				soon = time.After(lookSoon)
			}
		}
		if err == nil && f.ops.anyLost() {
			f.nudge()
		}
	}
}

// rest waits for d, or until the peer's context ends.
func (f *follower) rest(d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-f.ctx.Done():
	}
}

// catchUp brings the view up to the store's head. A light peer reads only its own actions.
func (f *follower) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if !f.view.isFull() {
		return f.catchUpOwn(ctx)
	}
	since, began := f.view.at(), time.Now()
	page, err := f.store.Feed(ctx, since.Seq)
	if err == nil {
		err = tidyPage(&page)
	}
	switch {
	case errors.Is(err, store.ErrBehind):
		return f.reload()
	case err != nil:
		return err
	case page.Epoch != since.Epoch || page.Seq < since.Seq:
		return f.reload()
	}
	f.view.apply(page)
	f.counters.isExact(began)
	f.found(page.Recorded)
	return nil
}

func (f *follower) catchUpOwn(ctx context.Context) error {
	own := f.own()
	if len(own) == 0 {
		return nil
	}
	snapshot, err := f.readSome(ctx, own)
	if err != nil {
		return err
	}
	if !f.view.meet(own, snapshot) {
		return f.reload()
	}
	return nil
}

// own returns the ids of the actions that a light peer has to read.
func (f *follower) own() []string { return f.ops.ids(f.view.ids()) }

// reload replaces the view with a snapshot of the store.
func (f *follower) reload() error {
	ctx, cancel := context.WithTimeout(f.ctx, f.timeout)
	defer cancel()
	return f.still(ctx, func() error {
		if f.view.isFull() {
			return f.load(ctx)
		}
		_, err := f.loadOwn(ctx)
		return err
	})
}

// load reads a snapshot into the view, which becomes a full one.
func (f *follower) load(ctx context.Context) error {
	began := time.Now()
	snapshot, err := f.store.Snapshot(ctx)
	if err == nil {
		err = tidySnapshot(&snapshot)
	}
	if err != nil {
		return err
	}
	f.secret.Store(&snapshot.Secret) // the store's file may have been replaced
	f.view.load(snapshot)
	f.counters.isExact(began)
	return nil
}

// loadOwn reads a snapshot of this peer's own actions into the view. It reports whether all peers of the store are
// on this machine.
func (f *follower) loadOwn(ctx context.Context) (oneMachine bool, err error) {
	snapshot, err := f.readSome(ctx, f.own())
	if err != nil {
		return false, err
	}
	f.view.loadOwn(snapshot)
	return snapshot.OneMachine, nil
}

func (f *follower) readSome(ctx context.Context, ids []string) (store.Snapshot, error) {
	snapshot, err := f.store.Some(ctx, ids)
	if err == nil {
		err = tidySnapshot(&snapshot)
	}
	if err == nil {
		f.secret.Store(&snapshot.Secret)
	}
	return snapshot, err
}
