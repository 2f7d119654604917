package linear

import (
	"slices"

	"github.com/kettubot/kapi"
)

// A record is what the model knows about an action.
type record struct {
	status      kapi.Status
	fence       uint64
	seq         uint64 // of the last change that was answered
	state       string
	died        bool // it failed because its runner died; state is what it last said
	hasProgress bool
	progress    float64
	keys        uint64 // held keys, as bits
	release     bool
}

func (r *record) ongoing() bool { return r != nil && r.status <= kapi.StatusFailed }
func (r *record) active() bool  { return r != nil && r.status <= kapi.StatusImpacted }

// A world is one state of the model. It is immutable.
type world struct {
	// head is the highest seq that was answered.
	head uint64
	// records are by the action's number; nil if it was not started yet.
	records []*record
	hash    uint64
}

// with returns the world with one record replaced.
func (m *model) with(w *world, n int, r record) *world {
	next := &world{head: max(w.head, r.seq), records: slices.Clone(w.records), hash: w.hash}
	next.hash ^= m.sum(n, w.records[n]) ^ m.sum(n, &r)
	next.records[n] = &r
	return next
}

func (w *world) equal(o *world) bool {
	if w.head != o.head || w.hash != o.hash {
		return false
	}
	return slices.EqualFunc(w.records, o.records, func(a, b *record) bool {
		return a == b || a != nil && b != nil && *a == *b
	})
}

// holder returns the number of the ongoing action that holds one of the keys, -1 if none does.
func (w *world) holder(keys uint64) int {
	return slices.IndexFunc(w.records, func(r *record) bool { return r.ongoing() && r.keys&keys != 0 })
}

// step applies one call as if nothing else happened meanwhile. It returns false if the rules don't
// allow this answer in this world. An uncertain call has no answer, so only the place in the order
// decides what it does, and it may come last.
func (m *model) step(w *world, o *operation) (bool, *world) {
	ok, next := m.apply(w, o)
	if seq := o.reads(); ok && seq > next.head {
		next = &world{head: seq, records: next.records, hash: next.hash} // the seq was seen, so the store had reached it
	}
	return ok, next
}

func (m *model) apply(w *world, o *operation) (bool, *world) {
	switch {
	case o.Kind == list, o.Kind == final:
		return m.seesAll(w, o), w
	case o.Kind == start && o.Outcome == held:
		return m.refuses(w, o), w
	case o.Kind == start:
		return m.start(w, o)
	case o.action < 0: // its start was refused, so there must be no such action
		return o.Outcome == unknown, w
	}
	switch o.Kind {
	case report, end:
		return m.report(w, o)
	case dismiss:
		return m.dismiss(w, o)
	case get:
		r := w.records[o.action]
		if o.Outcome == unknown {
			return !r.ongoing(), w
		}
		return r.ongoing() && m.sees(r, &o.Seen[0]), w
	case dies, notRun:
		return m.fails(w, o)
	}
	return false, w
}

// start gets all keys or none; a failed holder gives way only if the start dismisses failed ones.
func (m *model) start(w *world, o *operation) (bool, *world) {
	if w.records[o.action] != nil || o.Fence <= w.head {
		return false, w
	}
	next := w
	for holder := w.holder(o.keys); holder >= 0; holder = next.holder(o.keys) {
		r := *next.records[holder]
		if !o.Dismiss || r.status != kapi.StatusFailed {
			return false, w
		}
		r.status, r.keys = kapi.StatusAborted, 0
		next = m.with(next, holder, r)
	}
	if !o.part.in[o.action] {
		return true, next
	}
	r := record{status: kapi.StatusRunning, fence: o.Fence, seq: o.Fence, keys: o.keys, release: o.Release}
	if len(o.Seen) > 0 && !m.sees(&r, &o.Seen[0]) {
		return false, w
	}
	return true, m.with(next, o.action, r)
}

// refuses checks that a refusal names the first held key, and its holder's current state.
func (m *model) refuses(w *world, o *operation) bool {
	inTheWay := func(key string) int {
		n := w.holder(m.bit(key))
		if n >= 0 && o.Dismiss && w.records[n].status == kapi.StatusFailed {
			return -1
		}
		return n
	}
	for _, key := range o.Keys {
		n := inTheWay(key)
		switch {
		case key != o.Key && n < 0: // that key was free
		case key == o.Key && o.holder >= 0 && o.part.in[o.holder]:
			return n == o.holder && m.sees(w.records[n], &o.Seen[0])
		default:
			return key == o.Key && o.holder >= 0 && n < 0 // the holder belongs to another part
		}
	}
	return false
}

// report needs the right fence, and an active action unless it repeats the end.
func (m *model) report(w *world, o *operation) (bool, *world) {
	r := w.records[o.action]
	outcome := o.Outcome
	switch {
	case r == nil:
		return outcome == unknown || outcome == uncertain, w
	case o.Fence != r.fence:
		return outcome == stale || outcome == unknown && !r.ongoing() || outcome == uncertain, w
	case r.active():
		next := r.reported(&o.call)
		if outcome == uncertain {
			return true, m.with(w, o.action, next)
		}
		return m.acknowledged(w, o, next)
	case outcome == uncertain:
		return true, w
	case r.status == kapi.StatusFailed:
		return outcome == badMove || outcome == fine && o.Status == kapi.StatusFailed, w
	}
	again := r.status == kapi.StatusCompleted && o.Status == kapi.StatusCompleted ||
		r.status == kapi.StatusAborted && o.Status == kapi.StatusFailed
	return outcome == unknown || outcome == fine && again, w
}

// acknowledged applies a report that was answered with success, if the answer is right.
func (m *model) acknowledged(w *world, o *operation, next record) (bool, *world) {
	before := w.records[o.action]
	if o.Outcome != fine {
		return false, w
	}
	if len(o.Seen) == 0 { // through a handle, which returns no seq
		return true, m.with(w, o.action, next)
	}
	s := &o.Seen[0]
	if next != *before && s.Seq <= w.head || !m.sees(&next, s) {
		return false, w
	}
	next.seq = s.Seq
	return true, m.with(w, o.action, next)
}

// reported returns the record after a report.
func (r *record) reported(c *call) record {
	next := *r
	if c.Reset {
		next.hasProgress, next.progress = false, 0
	}
	if c.Progress != nil && (!next.hasProgress || *c.Progress > next.progress) {
		next.hasProgress, next.progress = true, *c.Progress
	}
	if c.State != nil {
		next.state = *c.State
	}
	if c.Status != 0 {
		next.status = c.Status
	}
	if c.Status == kapi.StatusCompleted || c.Status == kapi.StatusFailed && r.release {
		next.keys = 0
	}
	return next
}

// dismiss needs a failed action, and disposes of it.
func (m *model) dismiss(w *world, o *operation) (bool, *world) {
	r := w.records[o.action]
	switch {
	case !r.ongoing():
		return o.Outcome == unknown || o.Outcome == uncertain, w
	case r.active():
		return o.Outcome == notFailed || o.Outcome == uncertain, w
	}
	next := *r
	next.status, next.keys = kapi.StatusAborted, 0
	if o.Outcome == uncertain {
		return true, m.with(w, o.action, next)
	}
	if o.Outcome != fine || o.Seen[0].Seq <= w.head || !m.sees(&next, &o.Seen[0]) {
		return false, w
	}
	next.seq = o.Seen[0].Seq
	return true, m.with(w, o.action, next)
}

// fails is a failure that no call's answer shows.
func (m *model) fails(w *world, o *operation) (bool, *world) {
	r := w.records[o.action]
	if !r.active() {
		return o.seq == 0, w // otherwise the store has this change
	}
	if o.seq != 0 && o.seq <= w.head {
		return false, w
	}
	next := *r
	next.status, next.seq = kapi.StatusFailed, max(r.seq, o.seq)
	if o.Kind == dies {
		next.died = true
	} else {
		next.state = startNotConfirmed
	}
	if r.release {
		next.keys = 0
	}
	return true, m.with(w, o.action, next)
}
