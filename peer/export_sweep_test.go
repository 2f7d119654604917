package peer

import (
	"time"

	"github.com/kettubot/kapi/internal/rules"
)

// The limits of purges, for tests.
const (
	ReplayWindow = rules.ReplayWindow
	PurgeEvery   = purgeEvery
	PurgeLimit   = purgeLimit
)

// WithReadTimeout returns o with another limit for reads.
func (o Options) WithReadTimeout(d time.Duration) Options {
	o.readTimeout = d
	return o
}

// WithSweepEvery returns o with another interval between sweeps.
func (o Options) WithSweepEvery(d time.Duration) Options {
	o.sweepEvery = d
	return o
}
