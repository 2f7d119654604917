package kapi

import "time"

// What purge tests must know.
const (
	ReplayWindow = replayWindow
	PurgeEvery   = purgeEvery
	PurgeLimit   = purgeLimit
)

// WithSweepEvery returns o with another pace of the sweeper.
func (o Options) WithSweepEvery(d time.Duration) Options {
	o.sweepEvery = d
	return o
}
