package kapi

import (
	"context"
	"errors"
	"time"

	"github.com/kettubot/kapi/internal/proc"
)

const (
	// replayWindow is how long a tombstone stays for readers who were away.
	replayWindow = 5 * time.Minute
	purgeEvery   = 30 * time.Second
	purgeLimit   = 1000
)

// A sweeper settles what silent and dead runners left behind (lease.go has the rules),
// whoever's they are.
type sweeper struct {
	peer *Peer
	// oneMachine: the store can't be shared by several machines.
	oneMachine bool
	watched    map[string]watched // by runner
	// lastTick is when the sweeper last looked; a gap means that it did not watch.
	lastTick  time.Duration
	lastPurge time.Duration
}

// A watched runner's renewals have stood at beat since a moment of this peer's own clock.
type watched struct {
	beat  uint64
	since time.Duration
}

func (s *sweeper) init(p *Peer, oneMachine bool) {
	s.peer = p
	s.oneMachine = oneMachine
	s.watched = map[string]watched{}
	s.lastTick = p.opts.sinceBoot()
	s.lastPurge = s.lastTick
}

func (s *sweeper) loop() {
	tick := time.NewTicker(s.peer.opts.sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.tick()
		case <-s.peer.ctx.Done():
			return
		}
	}
}

func (s *sweeper) tick() {
	p := s.peer
	now := p.opts.sinceBoot()
	if now-s.lastTick > 5*s.peer.opts.sweepEvery {
		clear(s.watched) // we were stopped or suspended: what we did not watch, we can't judge
	}
	s.lastTick = now
	if now-s.lastPurge > purgeEvery {
		s.lastPurge = now
		p.purgeSome()
	}
	var others []*entry
	all, _ := p.view.all()
	for _, e := range all {
		switch {
		case !e.Status.Active() || e.Runner == nil:
		case e.Runner.ID == p.self.ID:
			p.settleOwn(e)
		default:
			others = append(others, e)
		}
	}
	if len(others) == 0 {
		clear(s.watched)
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.StoreTimeout)
	defer cancel()
	runners, err := p.store.Runners(ctx)
	if err != nil {
		clear(s.watched) // an outage of the store kills nobody
		return
	}
	s.judgeAll(ctx, others, runners, now)
}

// settleOwn ends an action of this very process that nobody here runs: its end could
// not be recorded in time, or its start was committed but the answer got lost.
func (p *Peer) settleOwn(e *entry) {
	p.mu.Lock()
	running := p.running[e.ID] != nil
	rep, ended := p.unsaid[e.ID]
	p.mu.Unlock()
	if now, ok := p.view.get(e.ID); running || !ok || !now.Status.Active() {
		return // the last two: it ended since e was read
	}
	if !ended {
		state := "its start could not be confirmed, so it was not run"
		rep = report{fence: e.Fence, status: StatusFailed, state: &state}
	}
	c := &change{id: e.ID, apply: func(r *Record, now int64) error { return r.report(rep, now) }}
	if err := p.commit(p.ctx, c); err != nil {
		p.log.Warn("an action that nobody runs any more can't be settled yet", "action", e.ID, "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.unsaid, e.ID)
}

// judgeAll looks at each active action of other runners.
func (s *sweeper) judgeAll(ctx context.Context, entries []*entry, runners []RunnerRecord, now time.Duration) {
	byID := make(map[string]*RunnerRecord, len(runners))
	for i := range runners {
		byID[runners[i].ID] = &runners[i]
	}
	seen := make(map[string]watched, len(s.watched))
	known := map[string]*evidence{}
	for _, e := range entries {
		id := e.Runner.ID
		r := byID[id]
		if r == nil { // forgotten by the store: only its silence can be judged
			r = &RunnerRecord{ID: id, Host: e.Runner.Host, PID: e.Runner.PID, HeardAt: e.Runner.HeardAt}
		}
		w, ok := s.watched[id]
		if !ok || w.beat != r.Beat {
			w = watched{r.Beat, s.peer.opts.sinceBoot()} // not now, which was before the beat was read
		}
		seen[id] = w
		ev := known[id]
		if ev == nil {
			ev = s.examine(r)
			known[id] = ev
		}
		ev.silent = now - w.since
		s.settle(ctx, e, r, *ev)
	}
	s.watched = seen
}

// examine finds out what can be proven of a runner's process.
func (s *sweeper) examine(r *RunnerRecord) *evidence {
	id := proc.Identity{
		Host: r.Host, PID: r.PID, BootID: r.BootID, PIDNamespace: r.PIDNamespace, StartTime: r.StartTime,
	}
	ev := &evidence{
		host: r.Host, pid: r.PID, heardAt: r.HeardAt,
		lease: r.Lease, giveUp: s.peer.opts.GiveUp,
		life: id.Life(),
	}
	if ev.lease == 0 {
		ev.lease = s.peer.opts.Lease
	}
	ev.giveUp = max(ev.giveUp, ev.lease)
	me := s.peer.self
	if s.oneMachine && r.BootID != "" && me.BootID != "" && r.BootID != me.BootID {
		ev.life, ev.restarted = proc.Gone, true
	}
	ev.stopped = ev.life == proc.Alive && id.Stopped()
	return ev
}

// settle judges one action and commits the verdict.
func (s *sweeper) settle(ctx context.Context, e *entry, r *RunnerRecord, ev evidence) {
	if ev.life == proc.Gone && !ev.restarted {
		var err error
		if ev.survivors, err = proc.Survivors(e.ID); err != nil {
			s.peer.log.Warn("what a dead runner left can't be looked for", "action", e.ID, "error", err)
			ev.life = proc.Unknown
		}
	}
	v := judge(&e.Record, ev)
	if v == (verdict{}) || v.silence == e.Silence && v.failure == "" {
		return
	}
	c := &change{
		id: e.ID, runner: r.ID, beat: r.Beat,
		apply: func(rec *Record, now int64) error { return rec.accept(v, now) },
	}
	if err := s.peer.commit(ctx, c); err != nil {
		if !errors.Is(err, ErrUnknown) && s.peer.ctx.Err() == nil {
			s.peer.log.Warn("a silent action can't be marked yet", "action", e.ID, "error", err)
		}
		return
	}
	if v.failure != "" && c.record.Status == StatusFailed {
		s.peer.log.Warn("action failed for its runner", "action", e.ID, "title", e.Title, "why", v.failure)
	}
}

// renewLoop says that this process is alive, for as long as it runs something.
func (p *Peer) renewLoop() {
	tick := time.NewTicker(p.opts.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.renew:
		case <-p.ctx.Done():
			return
		}
		p.renewOnce()
	}
}

func (p *Peer) renewNow() {
	select {
	case p.renew <- struct{}{}:
	default:
	}
}

// renewOnce renews the lease, and takes back what was said of this runner's silence.
func (p *Peer) renewOnce() {
	p.mu.Lock()
	handles := make([]*Handle, 0, len(p.running))
	for _, h := range p.running {
		handles = append(handles, h)
	}
	p.mu.Unlock()
	if len(handles) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.StoreTimeout)
	defer cancel()
	if err := p.store.Renew(ctx, p.self); err != nil {
		if p.ctx.Err() == nil {
			p.log.Warn("the lease can't be renewed; operations go on", "error", err)
		}
		return
	}
	for _, h := range handles {
		if r, ok := p.view.get(h.id); ok && r.Silence != "" {
			fence := r.Fence
			c := &change{id: h.id, apply: func(r *Record, now int64) error { return r.restore(fence, now) }}
			if err := p.commit(ctx, c); err != nil && p.ctx.Err() == nil {
				p.log.Warn("an action can't be marked as heard again yet", "action", h.id, "error", err)
			}
		}
	}
}

// purgeSome deletes tombstones that have left the replay window.
func (p *Peer) purgeSome() {
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.StoreTimeout)
	defer cancel()
	before := time.Now().Add(-replayWindow).UnixMilli()
	for {
		n, err := p.store.Purge(ctx, before, purgeLimit)
		if err != nil {
			if p.ctx.Err() == nil {
				p.log.Warn("old endings can't be deleted yet", "error", err)
			}
			return
		}
		if n < purgeLimit {
			return
		}
	}
}
