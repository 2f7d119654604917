package linear

import (
	"slices"

	"github.com/kettubot/kapi"
)

// A record is what the model knows of an action.
type record struct {
	status      kapi.Status
	fence       uint64
	seq         uint64 // of its last change that was told of
	state       string
	died        bool // it failed with its runner; state is what it last said
	hasProgress bool
	progress    float64
	keys        uint64 // those that it holds, as bits
	release     bool
}

func (r *record) ongoing() bool { return r != nil && r.status <= kapi.StatusFailed }
func (r *record) active() bool  { return r != nil && r.status <= kapi.StatusImpacted }

// A world is one state of the model. It is never changed, only replaced.
type world struct {
	// head is the highest seq that a change was told to have.
	head uint64
	// records are by number; nil is one that was not started yet.
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

// holder returns the number of the ongoing action that has one of the keys, -1 if none.
func (w *world) holder(keys uint64) int {
	return slices.IndexFunc(w.records, func(r *record) bool { return r.ongoing() && r.keys&keys != 0 })
}

// step is one call, as if nothing else happened meanwhile. It is false if the answer is not one
// that the rules allow in this world. What an uncertain call does is decided alone by when it
// is thought to happen, which may be after everything else.
func (m *model) step(w *world, o *operation) (bool, *world) {
	ok, next := m.apply(w, o)
	if seq := o.reads(); ok && seq > next.head {
		next = &world{head: seq, records: next.records, hash: next.hash} // it was seen to have come so far
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
	case o.action < 0: // its start was refused, so there must not be such an action
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

// start: all keys or none; a failed holder gives way only to who says so.
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

// refuses: the refusal names the first key that is in the way, and its holder as it is.
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
		case key != o.Key && n < 0: // it was free
		case key == o.Key && o.holder >= 0 && o.part.in[o.holder]:
			return n == o.holder && m.sees(w.records[n], &o.Seen[0])
		default:
			return key == o.Key && o.holder >= 0 && n < 0 // another part has the holder
		}
	}
	return false
}

// report: with the right fence, and while the action is active, or for the end once more.
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

// acknowledged takes a report that was answered with success, if the answer is right.
func (m *model) acknowledged(w *world, o *operation, next record) (bool, *world) {
	before := w.records[o.action]
	if o.Outcome != fine {
		return false, w
	}
	if len(o.Seen) == 0 { // through a handle, which tells no seq
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

// dismiss: only what has failed, and that is the end of it.
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

// fails: nobody is told of this one.
func (m *model) fails(w *world, o *operation) (bool, *world) {
	r := w.records[o.action]
	if !r.active() {
		return o.seq == 0, w // else it is stored that this change was made
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
