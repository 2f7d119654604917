package peer

import (
	"maps"
	"sync"
	"time"

	"github.com/kettubot/kapi/internal/rules"
)

// maxRefusalKeys is how many keys have a count of refusals of their own. Users choose the keys, so
// their number is unbounded.
const maxRefusalKeys = 100

// counters are the committer's counts. Their lock is taken once per transaction, which costs next to
// nothing beside the fsync, and makes a reader see an action's start no later than its end.
type counters struct {
	mu            sync.Mutex
	done          rules.Tally
	refusals      map[string]uint64
	refusalsOther uint64
	changes       Histogram
	seconds       Histogram
	empty, failed uint64
	exact         time.Time // when the view last had everything that the store had
}

func (c *counters) init() {
	c.refusals = map[string]uint64{}
	c.changes = newHistogram(1, 2, 4, 8, 16, 32, 64, 128, maxBatch)
	c.seconds = newHistogram(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
}

// committed counts a transaction; wrote is false if it had nothing to write.
func (c *counters) committed(t *rules.Tally, changes int, took time.Duration, wrote bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done.Starts += t.Starts
	for status, n := range t.Ends {
		c.done.Ends[status] += n
	}
	for _, key := range t.Refused {
		c.countRefusal(key)
	}
	if !wrote {
		c.empty++
		return
	}
	c.changes.observe(float64(changes))
	c.seconds.observe(took.Seconds())
}

// refused counts a start that was refused after its holder had been judged.
func (c *counters) refused(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.countRefusal(key)
}

func (c *counters) countRefusal(key string) {
	if _, ok := c.refusals[key]; ok || len(c.refusals) < maxRefusalKeys {
		c.refusals[key]++
	} else {
		c.refusalsOther++
	}
}

// fail counts a transaction that failed.
func (c *counters) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed++
}

// isExact notes that the view had everything that the store had at that time.
func (c *counters) isExact(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.exact) {
		c.exact = at
	}
}

func (c *counters) read(s *Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Starts, s.Ends = c.done.Starts, c.done.Ends
	s.Refusals, s.RefusalsOther = maps.Clone(c.refusals), c.refusalsOther
	s.BatchChanges, s.BatchSeconds = c.changes.clone(), c.seconds.clone()
	s.BatchesEmpty, s.BatchesFailed = c.empty, c.failed
	if !c.exact.IsZero() {
		s.FeedAge = max(time.Since(c.exact), 0)
	}
}
