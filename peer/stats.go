package peer

import (
	"slices"
	"sort"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// Stats is what a peer did and saw since it was opened. Counts only grow. What a
// transaction did is counted when it is on disk, before its callers are answered; one
// whose outcome the store could not tell counts as failed.
type Stats struct {
	// Ongoing is how many actions the peer's view has of each status from 0 to 3, as they
	// are shown: a silent one is impacted.
	Ongoing [kapi.StatusCompleted + 1]int

	// Starts counts the actions that this peer's own transactions started, those for
	// runners elsewhere included. A start that was repeated with its Idempotency-Key
	// counts once.
	Starts uint64
	// Ends counts the moves to 3, 4 and 5 that this peer's own transactions made, whoever
	// runs the action. What failed and was dismissed counts under both.
	Ends [kapi.StatusCompleted + 1]uint64
	// Refusals counts the starts that this peer refused with a *HeldError, by its Key, for
	// the first 100 keys; RefusalsOther counts those for all other keys.
	Refusals      map[string]uint64
	RefusalsOther uint64

	// SeenStarts and SeenEnds count the same, whichever peer made it, as far as the feed
	// told: what ended while the peer was cut off from the store for more than 5 minutes
	// is missing.
	SeenStarts uint64
	SeenEnds   [kapi.StatusCompleted + 1]uint64

	// BatchChanges has how many changes there were in each transaction that was written,
	// refused ones included, and BatchSeconds how long it took from asking for the store's
	// write lock until it was on disk.
	BatchChanges, BatchSeconds Histogram
	// BatchesEmpty counts transactions that had nothing to write, so that nothing was
	// synced; BatchesFailed those that the store could not take, or that were given up.
	BatchesEmpty, BatchesFailed uint64

	// FeedLag has, of each change by another peer, how many seconds later this one had it:
	// by the wall clocks of both, in whole milliseconds, never below 0.
	FeedLag Histogram
	// FeedAge is how long ago the peer last knew that its view had all that the store has.
	// It stays around a second or below as long as the store can be read.
	FeedAge time.Duration
	// Seq is that of the newest change in the view.
	Seq uint64
}

// A Histogram counts values by their size.
type Histogram struct {
	// Bounds are upper limits, ascending; a value that equals one belongs to it.
	Bounds []float64
	// Counts has how many values belong to each bound and not to one before it, and last
	// how many are above all.
	Counts []uint64
	// Sum is that of all values.
	Sum float64
}

func newHistogram(bounds ...float64) Histogram {
	return Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
}

func (h *Histogram) observe(v float64) {
	h.Counts[sort.SearchFloat64s(h.Bounds, v)]++
	h.Sum += v
}

func (h *Histogram) clone() Histogram {
	return Histogram{slices.Clone(h.Bounds), slices.Clone(h.Counts), h.Sum}
}

// What a view has seen; guarded by its lock.
type seen struct {
	starts uint64
	ends   [kapi.StatusCompleted + 1]uint64
	lag    Histogram
	// own are the first and the last seq of the peer's own transaction, which the feed
	// may tell of before the transaction's caller does.
	own [2]uint64
}

func newSeen() seen {
	return seen{lag: newHistogram(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)}
}

// change notes a change that the view is about to take in, in ms since 1970; old is what
// it has of the action. Of what happened between two readings of the feed only the last
// is told, but the rest follows: nothing is dismissed that had not failed.
func (s *seen) change(old *entry, r *store.Record, now int64) {
	if old == nil {
		s.starts++
	}
	if old == nil || old.Status != r.Status {
		if r.Status == kapi.StatusAborted && (old == nil || old.Status != kapi.StatusFailed) {
			s.ends[kapi.StatusFailed]++
		}
		if !r.Status.Active() {
			s.ends[r.Status]++
		}
	}
	if r.Seq < s.own[0] || r.Seq > s.own[1] {
		s.lag.observe(float64(max(now-r.UpdatedAt, 0)) / 1000)
	}
}

// expectOwn says that the changes above since, up to head, are the peer's own.
func (v *view) expectOwn(since, head uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen.own = [2]uint64{since + 1, head}
}

// Stats returns what the peer has counted so far. It asks the store nothing, so that it
// answers in an outage too.
func (p *Peer) Stats() Stats {
	var s Stats
	p.counters.read(&s)
	p.view.readStats(&s)
	return s
}

func (v *view) readStats(s *Stats) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, e := range v.entries {
		s.Ongoing[e.Shown().Status]++
	}
	s.SeenStarts, s.SeenEnds = v.seen.starts, v.seen.ends
	s.FeedLag = v.seen.lag.clone()
	s.Seq = v.head.Seq
}
