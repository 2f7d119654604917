package peer

import (
	"slices"
	"sort"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// Stats is what a peer did and saw since it was opened. Counts only grow. A transaction
// is counted when it is on disk, before its callers are answered. One whose outcome is
// unknown counts as failed.
type Stats struct {
	// Ongoing is the number of actions in the peer's view by status, 0 to 3, as they are
	// shown: a silent one is impacted.
	Ongoing [kapi.StatusCompleted + 1]int

	// Starts counts the actions that this peer's own transactions started, including those for
	// runners in other programs. A start that is repeated with its Idempotency-Key counts
	// once.
	Starts uint64
	// Ends counts the moves to status 3, 4 and 5 that this peer's own transactions made,
	// whichever process runs the action. An action that failed and was dismissed counts under
	// both.
	Ends [kapi.StatusCompleted + 1]uint64
	// Refusals counts the starts that this peer refused with a *HeldError, by its Key, for the
	// first 100 keys. RefusalsOther counts those for all other keys.
	Refusals      map[string]uint64
	RefusalsOther uint64

	// SeenStarts and SeenEnds count the starts and ends of all peers that this peer has read
	// in the feed, which it does from Follow on. Ends are missing if the peer was cut off from the
	// store for more than 5 minutes.
	SeenStarts uint64
	SeenEnds   [kapi.StatusCompleted + 1]uint64

	// BatchChanges has the number of changes in each transaction that was written, including
	// refused changes. BatchSeconds has the time from asking for the store's write lock until
	// the transaction was on disk.
	BatchChanges, BatchSeconds Histogram
	// BatchesEmpty counts transactions that had nothing to write, so that nothing was synced.
	// BatchesFailed counts those that failed or were abandoned.
	BatchesEmpty, BatchesFailed uint64

	// FeedLag has the delay of each change by another peer until this one read it: in seconds, rounded to
	// milliseconds. It is the time of the reading by this machine's wall clock, minus the time of the change by the
	// other machine's; 0 if that is negative.
	FeedLag Histogram
	// FeedAge is how long ago the peer last knew that its view had everything that the store
	// has. While the store can be read it stays around a second or below.
	FeedAge time.Duration
	// Seq is the seq of the newest change in the view.
	Seq uint64
}

// A Histogram counts values by their size.
type Histogram struct {
	// Bounds are inclusive upper bounds, in ascending order.
	Bounds []float64
	// Counts has, for each bound, the number of values up to it and above the bound before
	// it; the last count is of the values above all bounds.
	Counts []uint64
	// Sum is the sum of all values.
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

// A seen has the counts of a view. It is guarded by the view's lock.
type seen struct {
	starts uint64
	ends   [kapi.StatusCompleted + 1]uint64
	lag    Histogram
	// own has the first and the last seq of the peer's own transaction. The feed may
	// deliver its changes before the committer does.
	own [2]uint64
}

func newSeen() seen {
	return seen{lag: newHistogram(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)}
}

// change counts a change that the view is about to apply. old is the view's entry of the action, or
// nil; now is in ms since 1970. The feed has only the last change of an action since the previous read. If
// that is to status 4, the action must have gone through status 3, so change counts that, too.
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

// expectOwn notes that the changes above since, up to head, are the peer's own.
func (v *view) expectOwn(since, head uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen.own = [2]uint64{since + 1, head}
}

// Stats returns the peer's counts. It doesn't use the store, so it works during an outage,
// too.
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
