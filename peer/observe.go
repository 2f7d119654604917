package peer

import (
	"context"
	"time"

	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Silence counts only while a peer watched it. A peer that lives only briefly (a command, a cron job) leaves
// what it has watched in the store, and the next one adds to it. So such peers reach verdicts, too.

// A watched is what a peer knows of a runner's silence. beat is the runner's count of renewals, and since is the
// time, by this peer's own clock, from which on that count was watched not to change. What other peers have
// watched before moves since back.
type watched struct {
	beat  uint64
	since time.Duration
	// handedOn is when this was last written to the store; 0 is never.
	handedOn time.Duration
	// heard is set if this peer itself has seen a renewal.
	heard bool
	// steady is set while the runner holds its lock and renews its lease, so that its record needn't be read before
	// examine. pulse and lease are from when that was done.
	steady  bool
	examine time.Duration
	pulse   store.Pulse
	lease   time.Duration
	// looked is the look at which it was last among those to watch.
	looked uint64
	// toldHeld is set once the store has an observation that the runner's lock was seen as held.
	toldHeld bool
}

// A watching is what a peer has watched without a break.
type watching struct {
	seen map[string]watched // by runner
	// startOver is set after an outage, or after this peer was stopped: then nothing counts that was
	// watched before, by this peer or another one.
	startOver bool
	looks     uint64 // by unsteady
	// monitored are the runners that unsteady asks about. It is kept for its memory.
	monitored []store.Monitored
}

func newWatching() watching { return watching{seen: map[string]watched{}} }

// forget makes the watching of silence start over.
func (w *watching) forget() {
	clear(w.seen)
	w.startOver = true
}

// heardLately reports whether the runner's lease, which is this long, is known not to have run out by now.
func (w *watching) heardLately(r *store.RunnerRecord, now, lease time.Duration) bool {
	last, ok := w.seen[r.ID]
	return ok && (last.beat != r.Beat || now-last.since < lease)
}

// measureSilence sets for how long each runner has been silent. For a runner that this peer sees for the
// first time, it counts what other peers have watched.
func (s *sweeper) measureSilence(before *watching, known map[string]*examined) error {
	o := s.opts
	seen := before.seen
	var unknown []string // runners to read observations of: new ones, or ones whose lock may have been seen as held
	for id, x := range known {
		w, ok := seen[id]
		if !ok && (!x.stands() && !before.startOver || s.tellsHeld(x) || x.Life == rules.LifeUnknown && x.record.Lock == store.LockFree) {
			unknown = append(unknown, id)
		}
		if !ok || w.beat != x.Beat {
			w = watched{beat: x.Beat, since: o.sinceBoot(), heard: ok, toldHeld: w.toldHeld, looked: w.looked} // since now, after the beat was read
		}
		seen[id] = w
	}
	handed, err := s.observed(unknown)
	if err != nil {
		return err
	}
	for _, by := range handed {
		w := seen[by.Runner]
		if by.Held {
			w.toldHeld, s.locked[by.Runner] = true, true
			seen[by.Runner] = w
		}
		if w.beat == by.Beat && !before.startOver {
			w.since -= rules.SilentAt(by, w.since, o.awake(), known[by.Runner].Lease)
			w.handedOn = by.SinceBoot
			seen[by.Runner] = w
		}
	}
	now := o.sinceBoot()
	for id, x := range known {
		x.Silent = now - seen[id].since
	}
	return nil
}

// tellsHeld reports whether other peers need to know that a runner's lock was seen as held. For peers that don't
// share its boot id, nothing else can prove its death.
func (s *sweeper) tellsHeld(x *examined) bool {
	return x.record.Lock == store.LockHeld && !s.sameBoot(x.record)
}

// stands reports whether the runner is known to be alive, so that its silence proves nothing.
func (x *examined) stands() bool { return x.Life == rules.LifeAlive }

func (s *sweeper) observed(runners []string) ([]store.Observation, error) {
	if len(runners) == 0 || s.clock == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.readTimeout)
	defer cancel()
	return s.store.Observed(ctx, s.clock, runners)
}

// remember writes to the store for how long the runners have been silent: at the first look, and then every third of
// a lease while they are silent. If it fails, the look must not count.
func (s *sweeper) remember(watching *watching, known map[string]*examined) error {
	if s.clock == "" {
		watching.startOver = false
		return nil
	}
	now, awake := s.opts.sinceBoot(), s.opts.awake()
	var news []store.Observation
	for id, x := range known {
		w := watching.seen[id]
		switch {
		case s.tellsHeld(x) && !w.toldHeld:
		case x.stands(), w.handedOn != 0 && now-w.handedOn < x.Lease/3:
			continue
		case w.heard && now-w.since < x.Lease: // not silent
			continue
		}
		news = append(news, store.Observation{
			Runner: id, Beat: w.beat, Clock: s.clock, Silent: now - w.since, SinceBoot: now, Awake: awake,
			Held: s.locked[id],
		})
	}
	if len(news) == 0 {
		watching.startOver = false
		return nil
	}
	ctx, cancel := store.WithPatience(s.ctx, s.opts.StoreTimeout)
	defer cancel(nil)
	if err := s.store.Observe(ctx, news); err != nil {
		if s.ctx.Err() == nil {
			s.log.Warn("observations of silent runners can't be recorded", "error", err)
		}
		return err
	}
	watching.startOver = false
	for _, o := range news {
		w := watching.seen[o.Runner]
		w.handedOn, w.toldHeld = now, w.toldHeld || o.Held
		watching.seen[o.Runner] = w
	}
	return nil
}
