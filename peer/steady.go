package peer

import (
	"math/rand/v2"
	"slices"

	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Most runners are well at most looks. Where the store can tell that cheaply (store.Monitor), the keeper reads their
// records only now and then.

// settle notes which of the runners that were examined need not be examined at the next looks.
func (s *sweeper) settle(w *watching, known map[string]*examined) {
	now := s.opts.sinceBoot()
	for id, x := range known {
		seen := w.seen[id]
		told := !s.tellsHeld(x) || seen.toldHeld
		seen.steady = told && x.record.Lock == store.LockHeld && x.Life == rules.LifeAlive && x.Silent < x.Lease
		// At different times, so that a crowd isn't read all at once.
		seen.examine = now + x.Lease/leaseParts + rand.N(max(1, x.Lease/leaseParts))
		seen.pulse, seen.lease = x.record.Pulse, x.Lease
		w.seen[id] = seen
	}
}

// unsteady returns those of the actions that have to be judged. For the others, whose runners are alive and were heard
// of, it watches on. It forgets the runners that have no action any more.
func (s *sweeper) unsteady(w *watching, others []*entry) []*entry {
	now := s.opts.sinceBoot()
	w.looks++
	w.monitored = w.monitored[:0]
	for _, e := range others {
		seen, ok := w.seen[e.Runner.ID]
		if !ok || seen.looked == w.looks {
			continue
		}
		if seen.steady = seen.steady && now < seen.examine; seen.steady {
			w.monitored = append(w.monitored, store.Monitored{ID: e.Runner.ID, Pulse: seen.pulse})
		}
		seen.looked = w.looks
		w.seen[e.Runner.ID] = seen
	}
	for id := range w.seen {
		if w.seen[id].looked != w.looks {
			delete(w.seen, id)
		}
	}
	s.monitor(w)
	return slices.DeleteFunc(others, func(e *entry) bool {
		return w.seen[e.Runner.ID].steady && e.Status.Active() && e.Silence == ""
	})
}

// monitor watches the runners in w.monitored, and finds out which are no longer steady.
func (s *sweeper) monitor(w *watching) {
	m, ok := s.store.(store.Monitor)
	if ok {
		m.Alive(w.monitored)
	}
	for i := range w.monitored {
		r, now := &w.monitored[i], s.opts.sinceBoot()
		seen := w.seen[r.ID]
		if ok && r.Held && r.Beat > seen.beat {
			seen.beat, seen.since, seen.heard = r.Beat, now, true
		}
		seen.steady = ok && r.Held && now-seen.since < seen.lease
		w.seen[r.ID] = seen
	}
}
