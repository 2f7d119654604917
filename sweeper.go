package kapi

import (
	"context"
	"errors"
	"slices"
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
	// asked has the survivors that were asked to end, by action; once is enough.
	asked map[string][]proc.Process
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
	s.asked = map[string][]proc.Process{}
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
		case e.Runner == nil:
		case e.Runner.ID == p.self.ID:
			p.settleOwn(e)
		case e.Status.Active():
			others = append(others, e)
		}
	}
	p.forgetUnsaid()
	if p.view.stalled() {
		p.nudge()
	}
	if len(others) == 0 {
		clear(s.watched)
		clear(s.asked)
		return
	}
	runners, err := p.readRunners(others)
	if err != nil {
		clear(s.watched) // an outage of the store kills nobody
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.StoreTimeout)
	defer cancel()
	s.judgeAll(ctx, others, runners, now)
}

// readRunners reads how those who run the actions are.
func (p *Peer) readRunners(actions []*entry) ([]RunnerRecord, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.readTimeout)
	defer cancel()
	ids := make([]string, len(actions))
	for i, e := range actions {
		ids[i] = e.Runner.ID
	}
	slices.Sort(ids)
	return p.store.Runners(ctx, slices.Compact(ids))
}

// settleOwn ends an action of this very process that nobody here runs: its end could
// not be recorded in time, or its start was committed but the answer got lost.
func (p *Peer) settleOwn(e *entry) {
	p.mu.Lock()
	running := p.running[e.ID] != nil
	rep, ended := p.unsaid[e.ID]
	p.mu.Unlock()
	now, ok := p.view.get(e.ID) // it may have ended since e was read
	if running || !ok || !now.Status.Active() && !(ended && now.workMayGoOn()) {
		return
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

// forgetUnsaid forgets the ends that nobody waits for any more: somebody dismissed them.
func (p *Peer) forgetUnsaid() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.unsaid {
		if _, ok := p.view.get(id); !ok {
			delete(p.unsaid, id)
		}
	}
}

// judgeAll looks at each active action of other runners.
func (s *sweeper) judgeAll(ctx context.Context, entries []*entry, runners []RunnerRecord, now time.Duration) {
	byID := make(map[string]*RunnerRecord, len(runners))
	for i := range runners {
		byID[runners[i].ID] = &runners[i]
	}
	seen := make(map[string]watched, len(s.watched))
	known := map[string]*evidence{}
	var verdicts []*pronounced
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
		if v := s.verdictOn(e, *ev); v != nil {
			verdicts = append(verdicts, v)
		}
	}
	s.watched = seen
	if !s.pronounce(ctx, verdicts) {
		clear(s.watched) // what we can't write, no runner can: its silence means nothing
	}
}

// examine finds out what can be proven of a runner's process.
func (s *sweeper) examine(r *RunnerRecord) *evidence {
	id := proc.Identity{
		Host: r.Host, PID: r.PID, BootID: r.BootID, PIDNamespace: r.PIDNamespace, StartTime: r.StartTime,
	}
	ev := &evidence{
		host: r.Host, pid: r.PID, heardAt: r.HeardAt, beat: r.Beat,
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

// A pronounced verdict is on its way into the store.
type pronounced struct {
	verdict
	*entry
	change *change
}

// verdictOn judges one action; nil is nothing new.
func (s *sweeper) verdictOn(e *entry, ev evidence) *pronounced {
	if ev.life == proc.Gone && !ev.restarted {
		var err error
		if ev.survivors, err = proc.Survivors(e.ID); err != nil {
			s.peer.log.Warn("what a dead runner left can't be looked for", "action", e.ID, "error", err)
			ev.life = proc.Unknown
		}
		s.endSurvivors(e, ev.survivors)
	}
	v := judge(&e.Record, ev)
	if v == (verdict{}) || v.silence == e.Silence && v.failure == "" {
		return nil
	}
	return &pronounced{v, e, &change{
		id: e.ID, runner: e.Runner.ID, beat: ev.beat,
		apply: func(rec *Record, now int64) error { return rec.accept(v, now) },
	}}
}

// endSurvivors asks what a dead runner has left of an action to end.
func (s *sweeper) endSurvivors(e *entry, survivors []proc.Process) {
	if len(survivors) == 0 {
		delete(s.asked, e.ID)
		return
	}
	if e.LeaveRunning {
		return
	}
	for _, p := range survivors {
		if slices.Contains(s.asked[e.ID], p) {
			continue
		}
		s.asked[e.ID] = append(s.asked[e.ID], p)
		if err := proc.Terminate(e.ID, p); err != nil {
			s.peer.log.Warn("what a dead runner left can't be asked to end", "action", e.ID, "error", err)
		} else {
			s.peer.log.Info("asked a process to end that a dead runner left", "action", e.ID, "pid", p.PID, "name", p.Name)
		}
	}
}

// pronounce commits the verdicts; it is false if that can't be done now.
func (s *sweeper) pronounce(ctx context.Context, verdicts []*pronounced) (written bool) {
	written = true
	failed := func(v *pronounced, err error) {
		if errors.Is(err, ErrUnknown) {
			return // it was disposed
		}
		written = false
		if s.peer.ctx.Err() == nil {
			s.peer.log.Warn("a silent action can't be marked yet", "action", v.ID, "error", err)
		}
	}
	for i, v := range verdicts {
		if err := s.peer.enqueue(ctx, v.change); err != nil {
			failed(v, err)
			verdicts = verdicts[:i]
			break
		}
	}
	for _, v := range verdicts {
		if err := s.peer.wait(ctx, v.change); err != nil {
			failed(v, err)
		} else if v.failure != "" && v.change.record.Status == StatusFailed {
			s.peer.log.Warn("action failed for its runner", "action", v.ID, "title", v.Title, "why", v.failure)
		}
	}
	return written
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
