package peer

import (
	"context"
	"sync"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

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

// sync returns once the view holds everything that was committed before the call.
func (f *follower) sync(ctx context.Context) error {
	s := &f.syncs
	s.mu.Lock()
	if !s.closed && s.marked {
		if mark, ok := f.glance(); ok && mark == s.mark {
			s.mu.Unlock()
			return nil
		}
	}
	s.mu.Unlock()
	return f.check(ctx)
}

// glance is called with syncs.mu held, and not when that is closed.
func (f *follower) glance() (store.Mark, bool) {
	if g, ok := f.store.(store.Glancer); ok {
		return g.Glance()
	}
	return store.Mark{}, false
}

// check is sync, and reads the store in any case.
func (f *follower) check(ctx context.Context) error {
	s := &f.syncs
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
		f.spawn(f.runChecks)
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
func (f *follower) runChecks() {
	s := &f.syncs
	for {
		s.mu.Lock()
		c := s.next
		s.next = nil
		s.busy = c != nil
		var mark store.Mark
		marked := false
		if c != nil && !s.closed {
			mark, marked = f.glance()
		}
		s.mu.Unlock()
		if c == nil {
			return
		}
		c.err = f.catchUp(f.ctx)
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
