package peer

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
)

// Options are what Open may be told. The zero value is right for most programs. A limit of 0 is the
// default, and a negative one is off, or refused with a *kapi.InvalidError where it says that it can't be off.
type Options struct {
	// Logger takes what admins and operators may want to know later: who dismissed
	// what, panics, an unreachable store. Nil is slog.Default().
	Logger *slog.Logger
	// Lease is how long a runner may stay silent before its actions are shown as
	// impacted. At least 1 s; 0 is 15 s; it can't be off.
	Lease time.Duration
	// GiveUp is how long a runner may stay silent before its actions fail, unless it is
	// provably alive. At least Lease; 0 is 2 min, or Lease if that is longer; it can't be off.
	GiveUp time.Duration
	// Grace is how long Close waits for operations that were asked to stop; 0 is 10 s,
	// negative is off: it doesn't wait.
	Grace time.Duration
	// StoreTimeout is how long a change waits for a store that is locked or out of
	// reach before it is refused with ErrUnavailable; 0 is 5 s; it can't be off. While other
	// processes write to a SQLite file, one after the other, the time doesn't count (on Linux). Reading
	// (10 s) and renewing the lease (a third of it) take no longer, however large it is.
	StoreTimeout time.Duration
	// EndTimeout is for how long the end of an operation is tried again while the store
	// can't take it. 0, the default, and negative are off: until Close.
	EndTimeout time.Duration

	// How long reading may take, and renewing the lease: a connection over which nothing comes any
	// more is given up then. What must be known in time is not a matter of StoreTimeout.
	readTimeout, renewTimeout time.Duration

	// For tests in bubbles of their own time.
	sweepEvery time.Duration
	sinceBoot  func() time.Duration
	awake      func() time.Duration
}

// readTimeout is for who waits longer for his changes. A snapshot of a large store, over a slow
// line, must be done in that time.
const readTimeout = 10 * time.Second

func (o Options) withDefaults() (Options, error) {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&o.Lease, 15*time.Second)
	set(&o.GiveUp, max(2*time.Minute, o.Lease))
	set(&o.Grace, 10*time.Second)
	set(&o.StoreTimeout, 5*time.Second)
	set(&o.sweepEvery, time.Second)
	set(&o.readTimeout, min(o.StoreTimeout, readTimeout))
	o.renewTimeout = min(o.StoreTimeout, o.Lease/3)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.sinceBoot == nil {
		o.sinceBoot = proc.SinceBoot
	}
	if o.awake == nil {
		o.awake = proc.Awake
	}
	switch {
	case o.Lease < time.Second:
		return o, &kapi.InvalidError{Field: "lease", Reason: fmt.Sprintf("of %v is too short: at least 1s", o.Lease)}
	case o.GiveUp < o.Lease:
		return o, &kapi.InvalidError{Field: "give-up", Reason: fmt.Sprintf("limit of %v is shorter than the lease of %v", o.GiveUp, o.Lease)}
	case o.StoreTimeout < 0:
		return o, &kapi.InvalidError{Field: "store timeout", Reason: "must not be negative"}
	}
	return o, nil
}
