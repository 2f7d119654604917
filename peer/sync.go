package peer

import (
	"context"
	"sync"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A syncer lets concurrent callers of sync share one check.
type syncer struct {
	mu   sync.Mutex
	next *check // has not begun, so that callers may still join it
	busy bool
	// closed is set before the store is closed. From then on no check may begin.
	closed bool
	// mark is the store's mark from before the last successful check.
	mark   store.Mark
	marked bool
}

type check struct {
	done chan struct{}
	err  error
}

// sync returns once the view has everything that was committed before the call.
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

// glance returns the store's mark, if it has one. It is called with syncs.mu held, while syncs is not
// closed.
func (f *follower) glance() (store.Mark, bool) {
	if g, ok := f.store.(store.Glancer); ok {
		return g.Glance()
	}
	return store.Mark{}, false
}

// check is like sync, but always reads the store.
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

// runChecks runs checks until nobody waits for one.
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
