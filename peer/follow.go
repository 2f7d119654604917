package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

const (
	// pollEvery is the slow poll behind the wake-ups.
	pollEvery = time.Second
	// lookSoon is when a store that could not be read is looked at again for the first time.
	lookSoon = 100 * time.Millisecond
	// followPause is the least time between two readings of the feed.
	followPause = 2 * time.Millisecond
)

// followLoop follows what other peers commit.
func (p *Peer) followLoop(wakes <-chan struct{}) {
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	var soon <-chan time.Time
	reachable := true
	for {
		select {
		case <-soon:
		case <-wakes:
			if p.flight.reads(p.ctx) {
				continue
			}
		case <-poll.C:
		case <-p.ctx.Done():
			return
		}
		err := p.catchUp(p.ctx)
		if p.ctx.Err() == nil && (err == nil) != reachable {
			reachable = err == nil
			if reachable {
				p.log.Info("the store can be read again")
			} else {
				p.log.Warn("the store can't be read; what others change is not seen", "error", err)
				// If it was removed, whoever has something to say in it makes it anew.
				p.renewNow()
				soon = time.After(lookSoon)
			}
		}
		if err == nil && p.anyLost() {
			p.nudge()
		}
		pause.Reset(followPause)
		select {
		case <-pause.C:
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *Peer) listenLoop(wakes chan<- struct{}) {
	wake := func() {
		select {
		case wakes <- struct{}{}:
		default:
		}
	}
	for p.ctx.Err() == nil {
		if err := p.store.Listen(p.ctx, wake); err != nil && p.ctx.Err() == nil {
			p.log.Warn("wake-ups can't be had, polling", "error", err)
		}
		select {
		case <-time.After(pollEvery):
		case <-p.ctx.Done():
		}
	}
}

// catchUp reads the feed up to the store's head.
func (p *Peer) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.opts.readTimeout)
	defer cancel()
	since, began := p.view.at(), time.Now()
	page, err := p.store.Feed(ctx, since.Seq)
	if err == nil {
		err = tidyPage(&page)
	}
	switch {
	case errors.Is(err, store.ErrBehind):
		return p.reload()
	case err != nil:
		return err
	case page.Epoch != since.Epoch || page.Seq < since.Seq:
		return p.reload()
	}
	p.view.apply(page)
	p.counters.isExact(began)
	p.adoptDue(page.Recorded)
	return nil
}

// reload replaces the view by a snapshot of the store.
func (p *Peer) reload() error {
	p.deciding.Lock()
	defer p.deciding.Unlock()
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.readTimeout)
	defer cancel()
	began := time.Now()
	snapshot, err := p.store.Snapshot(ctx)
	if err == nil {
		err = tidySnapshot(&snapshot)
	}
	if err != nil {
		return err
	}
	p.secret.Store(&snapshot.Secret) // another file may stand at the store's path
	p.view.load(snapshot)
	p.counters.isExact(began)
	return nil
}

// A syncer lets all who wait for the store's head share one check.
type syncer struct {
	mu   sync.Mutex
	next *check // begins after whoever finds it here
	busy bool
	// closed is set before the store is: nobody may begin to read it any more.
	closed bool
	// mark was the store's when the last check began that succeeded.
	mark   store.Mark
	marked bool
}

type check struct {
	done chan struct{}
	err  error
}

// upToDate is sync, for those who look: what was provably dead when this peer was opened is settled
// by then.
func (p *Peer) upToDate(ctx context.Context) error {
	if err := p.sweep.awaitFirst(ctx); err != nil {
		return err
	}
	return p.sync(ctx)
}

// sync returns once the view holds everything that was committed before the call.
func (p *Peer) sync(ctx context.Context) error {
	s := &p.syncs
	s.mu.Lock()
	if !s.closed && s.marked {
		if mark, ok := p.glance(); ok && mark == s.mark {
			s.mu.Unlock()
			return nil
		}
	}
	s.mu.Unlock()
	return p.check(ctx)
}

// glance is called with syncs.mu held, and not when that is closed.
func (p *Peer) glance() (store.Mark, bool) {
	if g, ok := p.store.(store.Glancer); ok {
		return g.Glance()
	}
	return store.Mark{}, false
}

// check is sync, and reads the store in any case.
func (p *Peer) check(ctx context.Context) error {
	s := &p.syncs
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return kapi.ErrClosed
	}
	c := s.next
	if c == nil {
		c = &check{done: make(chan struct{})}
		s.next = c
	}
	if !s.busy {
		s.busy = true
		p.faults.Go(&p.served, p.runChecks)
	}
	s.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// runChecks makes checks until nobody waits for one.
func (p *Peer) runChecks() {
	s := &p.syncs
	for {
		s.mu.Lock()
		c := s.next
		s.next = nil
		s.busy = c != nil
		var mark store.Mark
		marked := false
		if c != nil && !s.closed {
			mark, marked = p.glance()
		}
		s.mu.Unlock()
		if c == nil {
			return
		}
		c.err = p.catchUp(p.ctx)
		s.mu.Lock()
		s.mark, s.marked = mark, marked && c.err == nil
		s.mu.Unlock()
		close(c.done)
	}
}

func (s *syncer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}
