package peer

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
)

// Options are for Open. The zero value is right for most programs. For each limit, 0 is the default. A negative
// limit is off; where the field says that it can't be off, Open returns a *kapi.InvalidError.
type Options struct {
	// Logger gets what admins may want to know later: who dismissed an action, panics,
	// outages of the store. Nil is slog.Default().
	Logger *slog.Logger
	// Lease is how long a runner may stay silent before its actions are shown as
	// impacted. At least 1 s; 0 is 15 s; it can't be off.
	Lease time.Duration
	// GiveUp is how long a runner may stay silent before its actions fail, unless it is
	// provably alive. At least Lease; 0 is 2 min, or Lease if that is longer; it can't be off.
	GiveUp time.Duration
	// Grace is how long Close waits for operations that were asked to stop; 0 is 10 s. If it
	// is negative, Close doesn't wait.
	Grace time.Duration
	// StoreTimeout is how long a change waits for a store that is locked or can't be reached before
	// ErrUnavailable is returned; 0 is 5 s; it can't be off. On Linux, time in which other processes
	// write to a SQLite file one after the other doesn't count. A read takes at most 10 s, and a
	// renewal at most a third of the lease, even if StoreTimeout is longer.
	StoreTimeout time.Duration
	// EndTimeout is for how long kapi tries to record the end of an operation while the store is
	// not available. 0, the default, or a negative value is until Close.
	EndTimeout time.Duration
	// Operations are the operations that this peer offers. Open refuses one that is not valid, and two of one name,
	// with a *kapi.InvalidError that names it.
	Operations []kapi.Definition

	// readTimeout and renewTimeout limit one read and one renewal of the lease, so that a hung
	// connection is given up in time, however long StoreTimeout is.
	readTimeout, renewTimeout time.Duration

	// For tests with a clock of their own.
	sweepEvery time.Duration
	sinceBoot  func() time.Duration
	awake      func() time.Duration
}

// readTimeout is the longest Options.readTimeout, however long StoreTimeout is. It is long enough for
// a snapshot of a large store over a slow line.
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
	return o, checkOperations(o.Operations)
}

func checkOperations(all []kapi.Definition) error {
	known := map[string]bool{}
	for i := range all {
		d := &all[i]
		if err := d.Validate(); err != nil {
			return err
		}
		if known[d.Name] {
			return &kapi.InvalidError{Field: fmt.Sprintf("operation %q", d.Name), Reason: "is defined twice"}
		}
		known[d.Name] = true
	}
	return nil
}
