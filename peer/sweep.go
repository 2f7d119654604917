package peer

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// A sweeper settles the actions of silent and dead runners (see rules/silence.go): this peer's own always,
// those of all others while its peer is the keeper.
type sweeper struct {
	store   store.Store
	view    *view
	ops     *operations
	commits *committer
	follow  *follower
	renewBy func(time.Duration) // renews the lease if that has to be done before this time has passed
	// renewOverdue renews the lease if that should have been done before.
	renewOverdue func()
	opts         *Options
	log          *slog.Logger
	self         *store.RunnerRecord
	clock        string          // identifies the clock of this machine; "" if it can't be identified
	ctx          context.Context // ends with the peer

	// oneMachine is set if the store can't be shared by several machines.
	oneMachine bool
	// begun is closed when the view has become a full one. first is closed later, when all actions that the
	// view had at that time are judged.
	begun, first chan struct{}
	begin        func() // closes begun
	// soon asks for a tick in sweepEvery, and holds one. quiet is set while ticks are put off (see pace).
	soon  chan struct{}
	quiet atomic.Bool

	// looking is held during a look, which may be the loop's or that of a start about to be refused.
	looking chan struct{} // holds one
	// keeping is set while this peer is the keeper. watching is what it has watched since.
	keeping  bool
	watching watching
	// blind is set while the keeper can't read the store.
	blind bool
	// locked has the runners whose locks were seen as held by this peer or by another one with the same
	// clock, which means on the same kernel. It stays valid through an outage.
	locked    map[string]bool
	survivors survivors
	// lastLook is when the sweeper last looked. After a gap, silence is watched anew.
	lastLook  time.Duration
	rest      time.Duration // no look begins before
	lastPurge time.Duration
	vacancies vacancies
	// lastProof is when failed actions that are not proven dead were last judged.
	lastProof time.Duration
}

func (s *sweeper) init() {
	s.begun, s.first = make(chan struct{}), make(chan struct{})
	s.begin = sync.OnceFunc(func() { close(s.begun) })
	s.looking, s.soon = make(chan struct{}, 1), make(chan struct{}, 1)
	s.watching = newWatching()
	s.locked = map[string]bool{}
	s.survivors.sweeper = s
	s.survivors.forget()
	s.lastLook = s.opts.sinceBoot()
	s.lastPurge = s.lastLook
}

func (s *sweeper) loop() {
	every := s.opts.sweepEvery
	tick := time.NewTicker(every)
	defer tick.Stop()
	for begun := s.begun; ; {
		select {
		case <-begun:
			begun = nil
			s.lookOnce()
		case <-tick.C:
			s.tick()
		case <-s.soon:
			every = s.opts.sweepEvery
			tick.Reset(every)
			continue
		case <-s.ctx.Done():
			return
		}
		if now := s.pace(); now != every {
			every = now
			tick.Reset(every)
		}
	}
}

// lookOnce settles the actions of provably dead runners when the view has become a full one.
func (s *sweeper) lookOnce() {
	select {
	case <-s.first: // the loop was restarted after a panic
		return
	default:
	}
	now := s.opts.sinceBoot()
	others := s.others(now)
	_ = s.judge(s.ctx, others) // after an error, the next look tries again
	s.restAfter(now, len(others))
	close(s.first)
}

func (s *sweeper) tick() {
	for _, id := range s.ops.leftUnsaid() { // a copy: the view must not be used with ops locked (see notice)
		if _, ongoing := s.view.Get(id); !ongoing {
			s.ops.forgetUnsaid(id)
		}
	}
	s.survivors.noteLate()
	s.settleAllOwn()
	if s.ops.anyLost() {
		s.follow.wake() // it puts them back
	}
	if !s.keeps() {
		s.renewBy(s.pace()) // now, rather than wake up once more for it before the next call
		s.retire()
		s.follow.peek()
		return
	}
	s.renewOverdue() // a keeper's calls may last, so the timer renews its lease, unless it was put off before
	s.whileBusy(s.keep)
}

// keep does what the keeper does in one tick.
func (s *sweeper) keep() {
	if !s.readAll() {
		return
	}
	now := s.opts.sinceBoot()
	if !s.keeping { // the previous keeper has left what it watched in the store
		s.keeping, s.lastLook, s.watching = true, now, newWatching()
	}
	if now-s.lastPurge > purgeEvery {
		s.lastPurge = now
		s.purgeSome()
	}
	if keys := rules.Stalled(s.view.Waiting(), s.view.Holder); len(keys) > 0 {
		s.commits.grant(keys)
	}
	s.abandon()
	s.look()
}

// awaitFirst waits until the actions of runners that were provably dead when the view became a full one are
// settled.
func (s *sweeper) awaitFirst(ctx context.Context) error {
	s.begin()
	select {
	case <-s.first:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return kapi.ErrClosed
	}
}

// look judges all actions of other runners, as the keeper.
func (s *sweeper) look() {
	leave, ok := s.enter(s.ctx)
	if !ok {
		return
	}
	defer leave()
	now := s.opts.sinceBoot()
	if now-s.lastLook > 5*s.opts.sweepEvery {
		s.unwatch() // this process was stopped or suspended, so it did not watch
	}
	s.lastLook = now
	if now < s.rest {
		return
	}
	others := s.others(now)
	defer func() { s.restAfter(now, len(others)) }()
	if len(others) == 0 {
		clear(s.watching.seen)
		s.survivors.forget()
		clear(s.locked)
		return
	}
	if s.judgeInParts(&s.watching, s.unsteady(&s.watching, others)) != nil {
		s.unwatch() // during an outage nobody can renew a lease
		return
	}
	s.survivors.prune()
	for id := range s.locked {
		if _, known := s.watching.seen[id]; !known {
			delete(s.locked, id)
		}
	}
}

// unwatch makes the keeper's watching start over.
func (s *sweeper) unwatch() {
	s.watching.forget()
	clear(s.survivors.waiting)
}

// judge judges actions once, by what other peers have watched. ctx limits only the wait for another look.
func (s *sweeper) judge(ctx context.Context, entries []*entry) error {
	leave, ok := s.enter(ctx)
	if !ok {
		return kapi.ErrClosed
	}
	defer leave()
	w := newWatching()
	err := s.judgeAll(&w, entries)
	if !s.survivors.owes.Load() { // the store knows what this peer has asked
		for _, e := range entries {
			if e != nil { // settleDead has removed those that have changed meanwhile
				delete(s.survivors.tried, e.ID)
			}
		}
	}
	return err
}

func (s *sweeper) enter(ctx context.Context) (leave func(), ok bool) {
	select {
	case s.looking <- struct{}{}:
		return func() { <-s.looking }, true
	case <-ctx.Done():
		return nil, false
	case <-s.ctx.Done():
		return nil, false
	}
}

// manyOthers is the number of actions from which on a look may take so long that the sweeper rests afterwards.
const manyOthers = 2000

// restAfter lets the sweeper rest after a look that began at a time and was at n actions: four times as long as it
// took, so that a peer beside very many actions has time for other things.
func (s *sweeper) restAfter(began time.Duration, n int) {
	if n >= manyOthers {
		end := s.opts.sinceBoot()
		s.rest = end + min(4*(end-began), 5*s.opts.sweepEvery)
	}
}

// proofEvery is how often failed actions that are not proven dead are judged again.
const proofEvery = 5 * time.Second

// others returns the actions of other runners that have to be judged now.
func (s *sweeper) others(now time.Duration) []*entry {
	proof := s.lastProof == 0 || now-s.lastProof >= proofEvery
	if proof {
		s.lastProof = now
	}
	return s.view.pick(func(e *entry) bool {
		return e.Runner != nil && e.Runner.ID != s.self.ID && (e.Status.Active() || proof && e.NotProvenDead)
	})
}

// readRunners reads the records of the actions' runners.
func (s *sweeper) readRunners(actions []*entry) ([]store.RunnerRecord, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.readTimeout)
	defer cancel()
	ids := make([]string, len(actions))
	for i, e := range actions {
		ids[i] = e.Runner.ID
	}
	slices.Sort(ids)
	return s.store.Runners(ctx, slices.Compact(ids))
}
