package kapi

import "time"

// FlushEvery bounds how often progress is published.
const FlushEvery = flushEvery

// WithClock returns o with a clock of the test's own.
func (o Options) WithClock(sinceBoot func() time.Duration) Options {
	o.sinceBoot = sinceBoot
	return o
}

// Self returns the peer's own runner.
func (p *Peer) Self() RunnerRecord { return p.self }
