package peer

import (
	"sync"
	"time"

	"github.com/kettubot/kapi/internal/store"
)

// keeps reports whether this peer is the keeper: of all peers that can see the same processes, the one that
// watches the actions of others.
func (s *sweeper) keeps() bool {
	k, ok := s.store.(store.Keeper)
	return !ok || k.Keep(s.self.PIDNamespace)
}

// retire ends this peer's time as the keeper.
func (s *sweeper) retire() {
	if !s.keeping && (s.follow.follows.Load() || !s.view.isFull()) {
		return
	}
	leave, ok := s.enter(s.ctx) // whoever judges may be using the full view
	if !ok {
		return
	}
	defer leave()
	if s.keeping {
		s.keeping, s.watching, s.locked = false, newWatching(), map[string]bool{}
		s.survivors.forget()
	}
	s.follow.lighten()
}

// readAll brings the keeper's view up to date. It is false if the store can't be read.
func (s *sweeper) readAll() bool {
	err := s.follow.fill(s.ctx, false)
	if err == nil && !s.follow.follows.Load() {
		err = s.follow.catchUp(s.ctx)
	}
	if err != nil && s.ctx.Err() == nil {
		if !s.blind {
			s.log.Warn("the actions of other processes can't be watched yet", "error", err)
		}
		s.follow.wake() // it notes whether the store can be read
	}
	s.blind = err != nil
	return err == nil
}

// whileBusy calls f, and keeps on asking for the keeper's part meanwhile. Otherwise the others would take a keeper
// that has very many actions to read or to judge for one that is stopped, and one after the other would do the same.
func (s *sweeper) whileBusy(f func()) {
	done, rest := make(chan struct{}), sync.WaitGroup{}
	rest.Go(func() {
		tick := time.NewTicker(s.opts.sweepEvery)
		defer tick.Stop()
		for range busyFor {
			select {
			case <-tick.C:
				s.keeps()
			case <-done:
				return
			}
		}
	})
	defer rest.Wait()
	defer close(done)
	f()
}

// busyFor is how many times a keeper that is busy asks for its part again. If it is busy for longer, it may hang.
const busyFor = 30

// pace returns how often tick is called. In a crowd of light peers each call counts, most of all those of peers that
// only wait for their start to be committed: the longer the line, the longer they wait.
func (s *sweeper) pace() time.Duration {
	if s.keeping || s.view.isFull() {
		return s.opts.sweepEvery
	}
	s.quiet.Store(true) // before the look, so that a start that is committed now is either seen or asks for a tick
	if s.ops.onlyStarting() {
		return s.opts.sweepEvery * 15
	}
	s.quiet.Store(false)
	return s.opts.sweepEvery * 3 / 2
}

// started ends the time of few ticks. It is called when a start has been committed, or has failed.
func (s *sweeper) started() {
	if !s.quiet.Load() || !s.quiet.Swap(false) {
		return
	}
	select {
	case s.soon <- struct{}{}:
	default:
	}
}
