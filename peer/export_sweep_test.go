package peer

import (
	"time"

	"github.com/kettubot/kapi/internal/rules"
)

// What purge tests must know.
const (
	ReplayWindow = rules.ReplayWindow
	PurgeEvery   = purgeEvery
	PurgeLimit   = purgeLimit
)

// WithReadTimeout returns o with another limit for reading.
func (o Options) WithReadTimeout(d time.Duration) Options {
	o.readTimeout = d
	return o
}

// WithSweepEvery returns o with another pace of the sweeper.
func (o Options) WithSweepEvery(d time.Duration) Options {
	o.sweepEvery = d
	return o
}
