package peer

import (
	"time"

	"github.com/kettubot/kapi/internal/store"
)

// FlushEvery bounds how often progress is published.
const FlushEvery = flushEvery

// WithClock returns o with a clock of the test's own.
func (o Options) WithClock(sinceBoot, awake func() time.Duration) Options {
	o.sinceBoot, o.awake = sinceBoot, awake
	return o
}

// Self returns the peer's own runner.
func (p *Peer) Self() store.RunnerRecord { return p.self }

// Submitted returns the number of changes that wait for the next transaction.
func (p *Peer) Submitted() int { return len(p.commits.submit) }

// GivenUp reports whether the current transaction is abandoned.
func (p *Peer) GivenUp() bool {
	p.commits.flight.mu.Lock()
	defer p.commits.flight.mu.Unlock()
	return p.commits.flight.batch != nil && p.commits.flight.ctx.Err() != nil
}
