package peer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

const (
	purgeEvery = 30 * time.Second
	purgeLimit = 1000
)

// A sweeper settles what silent and dead runners left behind (rules/silence.go says what that is),
// whoever's they are.
type sweeper struct {
	store   store.Store
	view    *view
	ops     *operations
	commits *committer
	catchUp func(context.Context) error // reads the feed
	opts    *Options
	log     *slog.Logger
	self    *store.RunnerRecord
	clock   string          // names the clock of this machine; "" if there is none
	ctx     context.Context // ends with the peer

	// oneMachine: the store can't be shared by several machines.
	oneMachine bool
	// first is closed when the first look is over.
	first chan struct{}

	// looking is held by a look: the loop's, or that of a start which is about to be refused.
	looking chan struct{}      // holds one
	watched map[string]watched // by runner
	// locked are the runners whose locks were seen held, by this peer or another with the same clock: on
	// this kernel, that is. An outage takes nothing from that.
	locked map[string]bool
	// startOver is set while what was watched before, here or elsewhere, counts for nothing: there was
	// an outage, or this peer was stopped.
	startOver bool
	// asked has the survivors that were asked to end, by action; once is enough.
	asked map[string][]proc.Ref
	// lastLook is when the sweeper last looked; a gap means that it did not watch.
	lastLook  time.Duration
	lastPurge time.Duration
	// lastProof is when failed actions that are not proven dead were last looked at.
	lastProof time.Duration
}

func (s *sweeper) init() {
	s.first = make(chan struct{})
	s.looking = make(chan struct{}, 1)
	s.watched = map[string]watched{}
	s.locked = map[string]bool{}
	s.asked = map[string][]proc.Ref{}
	s.lastLook = s.opts.sinceBoot()
	s.lastPurge = s.lastLook
}

func (s *sweeper) loop() {
	s.look()
	select {
	case <-s.first: // it is not the first time: there was a panic
	default:
		close(s.first)
	}
	tick := time.NewTicker(s.opts.sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.tick()
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *sweeper) tick() {
	if now := s.opts.sinceBoot(); now-s.lastPurge > purgeEvery {
		s.lastPurge = now
		s.purgeSome()
	}
	for _, id := range s.ops.leftUnsaid() { // the view tells the operations of changes while it is locked
		if _, ongoing := s.view.Get(id); !ongoing {
			s.ops.forgetUnsaid(id)
		}
	}
	if rules.Stalled(s.view) {
		s.commits.nudge()
	}
	s.look()
}

// awaitFirst waits until what was provably dead when this peer was opened is settled.
func (s *sweeper) awaitFirst(ctx context.Context) error {
	select {
	case <-s.first:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return kapi.ErrClosed
	}
}

// look judges all that is to be judged now.
func (s *sweeper) look() {
	select {
	case s.looking <- struct{}{}:
		defer func() { <-s.looking }()
	case <-s.ctx.Done():
		return
	}
	now := s.opts.sinceBoot()
	if now-s.lastLook > 5*s.opts.sweepEvery {
		s.forget() // we were stopped or suspended: what we did not watch, we can't judge
	}
	s.lastLook = now
	others := s.others(now)
	if len(others) == 0 {
		clear(s.watched)
		clear(s.asked)
		clear(s.locked)
		return
	}
	runners, err := s.readRunners(others)
	if err == nil {
		err = s.judgeAll(others, runners)
	}
	if err != nil {
		s.forget() // an outage of the store kills nobody
	}
}

// forget has the watching of silence start over.
func (s *sweeper) forget() {
	clear(s.watched)
	s.startOver = true
}

// proofEvery is how often failed actions that are not proven dead are looked at again.
const proofEvery = 5 * time.Second

// others returns the actions of other runners that are to be judged. It settles what is this
// peer's own.
func (s *sweeper) others(now time.Duration) (others []*entry) {
	proof := s.lastProof == 0 || now-s.lastProof >= proofEvery
	if proof {
		s.lastProof = now
	}
	all, _ := s.view.all()
	for _, e := range all {
		switch {
		case e.Runner == nil:
		case e.Runner.ID == s.self.ID:
			s.settleOwn(e)
		case e.Status.Active(), proof && e.NotProvenDead:
			others = append(others, e)
		}
	}
	return others
}

// readRunners reads how those who run the actions are.
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

// settleOwn ends an action of this very process that nobody here runs: its end could
// not be recorded in time, or its start was committed but the answer got lost.
func (s *sweeper) settleOwn(e *entry) {
	running := s.ops.has(e.ID)
	rep, ended := s.ops.said(e.ID)
	now, ok := s.view.Get(e.ID) // it may have ended since e was read
	if running || !ok || !now.Status.Active() && !(ended && now.NotProvenDead) {
		return
	}
	if !ended {
		state := "its start could not be confirmed, so it was not run"
		rep = rules.Report{Fence: e.Fence, Status: kapi.StatusFailed, State: &state}
	}
	c := submissionOf(rules.Change{Kind: rules.KindReport, ID: e.ID, Report: rep})
	if err := s.commits.commit(s.ctx, c); err != nil {
		s.log.Warn("an action that nobody runs any more can't be settled yet", "action", e.ID, "error", err)
		return
	}
	s.ops.forgetUnsaid(e.ID)
}

// A pronounced verdict is on its way into the store.
type pronounced struct {
	*entry
	*submission
	// survivors are what a dead runner left for certain.
	survivors []proc.Process
}

// verdictOn judges one action; nil is nothing new.
func verdictOn(e *entry, ev rules.Evidence, survivors []proc.Process) *pronounced {
	v := rules.Judge(&e.Record, ev)
	if v == (rules.Verdict{}) || v.Silence != "" && !rules.Replaces(&e.Record, v, time.Now().UnixMilli()) {
		return nil
	}
	return &pronounced{e, submissionOf(rules.Change{Kind: rules.KindVerdict, ID: e.ID, Verdict: v, Runner: e.Runner.ID, Beat: ev.Beat}), survivors}
}

// pronounce commits the verdicts. The error says that this can't be done now.
func (s *sweeper) pronounce(verdicts []*pronounced) (unwritten error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.StoreTimeout)
	defer cancel()
	failed := func(v *pronounced, err error) {
		if errors.Is(err, kapi.ErrUnknown) {
			return // it was disposed
		}
		unwritten = err
		if s.ctx.Err() == nil {
			s.log.Warn("a silent action can't be marked yet", "action", v.ID, "error", err)
		}
	}
	for i, v := range verdicts {
		if err := s.commits.send(ctx, v.submission); err != nil {
			failed(v, err)
			verdicts = verdicts[:i]
			break
		}
	}
	for _, v := range verdicts {
		if err := s.commits.wait(ctx, v.submission); err != nil {
			failed(v, err)
			continue
		}
		if v.Changed {
			s.endSurvivors(v.entry, v.survivors)
		}
		switch record := &v.submission.Record; { // as it is now; the entry's is what was judged
		case v.Verdict.Proven != "" && !record.NotProvenDead && !record.LateEnd:
			s.log.Info("the work of an action that was not proven dead is known to have ended", "action", v.ID, "title", v.Title, "why", v.Verdict.Proven)
		case v.Verdict.Failure != "" && record.Status == kapi.StatusFailed:
			s.log.Warn("action failed for its runner", "action", v.ID, "title", v.Title, "why", v.Verdict.Failure)
		}
	}
	return unwritten
}

// purgeSome deletes tombstones that have left the replay window.
func (s *sweeper) purgeSome() {
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.StoreTimeout)
	defer cancel()
	for {
		n, err := s.store.Purge(ctx, rules.Retention(time.Now().UnixMilli(), purgeLimit))
		if err != nil {
			if s.ctx.Err() == nil {
				s.log.Warn("old endings can't be deleted yet", "error", err)
			}
			return
		}
		if n < purgeLimit {
			return
		}
	}
}
