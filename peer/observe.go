package peer

import (
	"context"
	"time"

	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Silence counts only while somebody watched. Peers that live briefly (commands, cron jobs) hand
// on in the store what they have watched, so that they come to a verdict, too.

// A watched runner's renewals have stood at beat since a moment of this peer's own clock.
type watched struct {
	beat  uint64
	since time.Duration
	// handedOn is when that was last handed on; 0 is never.
	handedOn time.Duration
	// heard: this peer has itself seen a renewal.
	heard bool
	// toldHeld: that its lock was seen held was handed on.
	toldHeld bool
}

// A watching is what a peer has watched without a break.
type watching struct {
	seen map[string]watched // by runner
	// startOver is set while what was watched before, here or elsewhere, counts for nothing: there was
	// an outage, or this peer was stopped.
	startOver bool
}

func newWatching() watching { return watching{seen: map[string]watched{}} }

// forget makes the watching of silence start over.
func (w *watching) forget() {
	clear(w.seen)
	w.startOver = true
}

// measureSilence determines for how long each runner has been silent. What others have watched counts
// for a runner that this peer sees for the first time.
func (s *sweeper) measureSilence(before *watching, known map[string]*examined) error {
	o := s.opts
	seen := make(map[string]watched, len(known))
	var unknown []string // to this peer, and to the kernel; or it may have been told already that its lock was held
	for id, x := range known {
		w, ok := before.seen[id]
		if !ok && (!x.stands() && !before.startOver || s.tellsHeld(x) || x.Life == rules.LifeUnknown && x.record.Lock == store.LockFree) {
			unknown = append(unknown, id)
		}
		if !ok || w.beat != x.Beat {
			w = watched{beat: x.Beat, since: o.sinceBoot(), heard: ok, toldHeld: w.toldHeld} // now, which is after the beat was read
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
	before.seen = seen
	return nil
}

// tellsHeld reports whether others need to know that a runner's lock was seen held: to those to whom its boot id is
// a stranger's too, nothing else would prove its death.
func (s *sweeper) tellsHeld(x *examined) bool {
	return x.record.Lock == store.LockHeld && !s.sameBoot(x.record)
}

// stands reports whether silence proves nothing of a runner: the kernel says that it lives.
func (x *examined) stands() bool { return x.Life == rules.LifeAlive }

func (s *sweeper) observed(runners []string) ([]store.Observation, error) {
	if len(runners) == 0 || s.clock == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.readTimeout)
	defer cancel()
	return s.store.Observed(ctx, s.clock, runners)
}

// remember hands on what was watched: at the first look, and every third of a lease while it is silent. A look that
// can't write counts for nothing.
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
		case w.heard && now-w.since < x.Lease: // it is not silent
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
			s.log.Warn("what was watched of silent runners can't be handed on", "error", err)
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
