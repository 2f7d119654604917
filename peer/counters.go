package peer

import (
	"maps"
	"sync"
	"time"

	"github.com/kettubot/kapi/internal/rules"
)

// maxRefusalKeys bounds the keys that refusals are counted for one by one: keys are what
// users choose, and there may be any number of them.
const maxRefusalKeys = 100

// Counters are what the committer counts. A lock that is taken once a transaction costs
// next to nothing beside the fsync, and lets a start never be seen after its end.
type counters struct {
	mu            sync.Mutex
	done          rules.Tally
	refusals      map[string]uint64
	refusalsOther uint64
	changes       Histogram
	seconds       Histogram
	empty, failed uint64
	exact         time.Time // when the view had all that the store had
}

func (c *counters) init() {
	c.refusals = map[string]uint64{}
	c.changes = newHistogram(1, 2, 4, 8, 16, 32, 64, 128, maxBatch)
	c.seconds = newHistogram(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
}

// committed counts a transaction of so many changes; wrote is false if it had nothing to write.
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

// fail counts a transaction of which nothing was kept.
func (c *counters) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed++
}

// isExact notes that at this time the view had all that the store had.
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
