package rules

import (
	"cmp"
	"fmt"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// An action of a defined operation may have no runner: a start that was recorded for another peer, or an action whose
// runner has died or has handed it over. A peer that offers the operation claims it by its fence. Each claim and each
// vacancy gives it a new fence, so of several claims one succeeds, and a stale runner changes nothing any more.

// record adds a start whose taker begins it later, by its fence: another peer, or the process whose transaction has
// recorded it.
func (pl *Plan) record(start *store.Record) store.Record {
	r := pl.born(start)
	r.Status, r.StartedAt, r.Ticket = kapi.StatusPending, 0, r.Fence
	if r.Defined != nil && r.Defined.Unclaimed {
		r.State, r.WaitsFor = "waits for a peer that offers "+r.Operation, waitsForPeer(&r)
	}
	return pl.put(r)
}

// Readable reports whether a peer that reads checkpoints of versions reads to version can continue the action.
func Readable(d *store.Defined, reads, version int) bool {
	return d.Saves == 0 || reads <= d.Version && d.Version <= version
}

// claim gives an action that has no runner the one in c.Action.
func (pl *Plan) claim(c *Change, r *store.Record, o *Outcome) error {
	switch {
	case !r.Status.Ongoing():
		return kapi.ErrUnknown
	case c.Fence != r.Fence || !r.Claimable():
		return kapi.ErrStaleFence
	case pl.noStarts != nil:
		return pl.noStarts
	case r.Defined.Vacant:
		return pl.takeOver(c, r)
	}
	return pl.claimStart(c, r, o)
}

// takeOver gives a vacant action a new runner.
func (pl *Plan) takeOver(c *Change, r *store.Record) error {
	theirs := c.Action.Defined
	if !Readable(r.Defined, c.Reads, theirs.Version) {
		return &kapi.InvalidError{Field: "version", Reason: fmt.Sprintf("must be able to read checkpoints of version %d", r.Defined.Version)}
	}
	if r.Status != kapi.StatusPending {
		if !r.Defined.HandedOver {
			r.Attempt = max(r.Attempt, 1) + 1
		}
		r.State = r.Defined.Said
		moveTo(r, kapi.StatusRunning, pl.now)
	} else {
		r.State, r.WaitsFor = "", nil // if it still waits, the queue says for what
	}
	pl.employ(c, r, func(d *store.Defined) {
		d.Vacant, d.Why, d.HandedOver, d.Last, d.Said = false, "", false, nil, ""
		d.Takeovers, d.Within = theirs.Takeovers, theirs.Within
	})
	return nil
}

// claimStart gives a recorded start its runner, and its keys if they are free. If they aren't, the start is queued, or
// ends as refused.
func (pl *Plan) claimStart(c *Change, r *store.Record, o *Outcome) error {
	theirs := c.Action.Defined
	r.Keys = c.Action.Keys
	define(r, func(d *store.Defined) {
		d.Unclaimed, d.Limit = false, theirs.Limit
		d.Resumable, d.Takeovers, d.Within = theirs.Resumable, theirs.Takeovers, theirs.Within
	})
	if err := pl.continuable(r); err != nil {
		return pl.refuse(r, err)
	}
	n := needOf(r)
	ahead := pl.ahead(n.names())
	b, _ := pl.blocked(n, false, ahead)
	switch {
	case b != nil && b.holder == nil, b != nil && c.Unjudged && !r.Defined.MayWait:
		return b.refusal()
	case b != nil && r.Defined.MayWait:
		queueFor(r, n)
		ahead.told(b).explain(r)
	case b != nil:
		pl.Tally.Refused = append(pl.Tally.Refused, b.name())
		return pl.refuse(r, b.held())
	default:
		if failed := pl.inherit(r); failed != nil {
			o.Dismissed = append(o.Dismissed, failed.Shown())
		}
		pl.hold(r, n)
		r.State = ""
	}
	pl.employ(c, r, func(*store.Defined) {})
	return nil
}

// employ sets the runner and the new fence.
func (pl *Plan) employ(c *Change, r *store.Record, change func(*store.Defined)) {
	runner := *c.Action.Runner
	r.Runner, r.Fence = &runner, pl.seq+1
	define(r, func(d *store.Defined) {
		if change(d); r.Status == kapi.StatusPending {
			d.Claim = r.Fence
		}
	})
	touch(r, pl.now, true)
}

// refuse ends a start that its claimer refuses, and keeps the reason for the peer that has recorded it.
func (pl *Plan) refuse(r *store.Record, reason error) error {
	r.Keys = nil
	define(r, func(d *store.Defined) { d.Refusal = RefusalOf(reason) })
	why := reason.Error()
	withdraw(r, &why, pl.now)
	return nil
}

// handOver takes an action from its runner, which has stopped. If the stop wasn't planned it counts as a death: the work
// may be what has kept the runner from renewing its lease.
func (pl *Plan) handOver(c *Change, r *store.Record) error {
	switch {
	case !r.Status.Ongoing():
		return kapi.ErrUnknown
	case c.Fence != r.Fence && !(r.Queued() && c.Fence == r.Pass()), r.Runner == nil:
		return kapi.ErrStaleFence
	case !r.Status.Active():
		return &kapi.MoveError{From: r.Status, To: r.Status}
	case r.Defined == nil || !r.Defined.Resumable:
		return &kapi.InvalidError{Reason: "only an action that another runner can resume is handed over"}
	case r.CancelRequestedAt != 0:
		return &kapi.CancelledError{By: r.CancelledBy}
	}
	if c.Late {
		return pl.bury(r, Verdict{cause: "it could not renew its lease in time", ended: true}, "stopped itself")
	}
	pl.vacate(r, "handed over by "+r.Runner.Host, func(d *store.Defined) { d.HandedOver, d.Last = true, nil })
	return nil
}

// mayVacate reports whether another runner may go on after this verdict.
func mayVacate(r *store.Record, v Verdict) bool {
	return v.cause != "" && r.Status.Active() && r.Defined != nil && r.Defined.Resumable && r.CancelRequestedAt == 0
}

// bury applies the verdict that the runner of a resumable action is dead, or as good as dead; how says which. The action
// becomes vacant, unless too many runners have died at the same place. While it waits for its keys or its turn nothing of
// it runs, so a death says nothing about it.
func (pl *Plan) bury(r *store.Record, v Verdict, how string) error {
	deaths := 0
	if pl.mark(r.ID).Saves == r.Defined.Saves {
		deaths = r.Defined.Deaths
	}
	if !r.Waiting() {
		if deaths++; deaths >= cmp.Or(r.Defined.Takeovers, defaultTakeovers) {
			v.Failure = killed(deaths) + ": " + v.cause
			return applyVerdict(r, v, pl.now)
		}
	}
	last := r.Runner
	if v.ended {
		last = nil
	}
	pl.vacate(r, fmt.Sprintf("its runner %s (%s)", how, v.cause), func(d *store.Defined) { d.HandedOver, d.Last, d.Deaths = false, last, deaths })
	return nil
}

// defaultTakeovers is what kapi.Resume.Takeovers is by default.
const defaultTakeovers = 3

func killed(runners int) string {
	words := []string{2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}
	switch {
	case runners == 1:
		return "killed its runner"
	case runners < len(words):
		return "killed " + words[runners] + " runners at the same place"
	}
	return fmt.Sprintf("killed %d runners at the same place", runners)
}

// vacate takes its runner from an action, which keeps what it holds, or its place in the queue.
func (pl *Plan) vacate(r *store.Record, why string, change func(*store.Defined)) {
	mark := pl.mark(r.ID)
	r.Runner, r.Fence, r.Silence = nil, pl.seq+1, ""
	r.NoCancel = "" // nobody is where it must not be cancelled; the next runner says again whatever this one said
	define(r, func(d *store.Defined) {
		if d.Saves != mark.Saves {
			d.Deaths = 0
		}
		d.Saves, d.Version = mark.Saves, mark.Version
		if change(d); r.Status == kapi.StatusPending {
			d.Claim = r.Fence
		} else if !d.Parked {
			d.Said = r.State
		}
		d.Vacant, d.Why, d.Parked = true, cutState(why), false
	})
	if r.Status == kapi.StatusPending {
		r.WaitsFor = waitsForPeer(r)
	} else {
		r.Status = kapi.StatusImpacted
	}
	r.State = vacantState(r)
	touch(r, pl.now, false)
}

// vacantState says why a vacant action has no runner, and what it waits for.
func vacantState(r *store.Record) string {
	awaits := "waits for another runner"
	if r.PausedBy != "" {
		awaits = paused(r)
	}
	return cutState(cmp.Or(r.Defined.Why, "has no runner") + "; " + awaits)
}

// abandon fails a vacant action for which no runner came in time.
func abandon(r *store.Record, fence uint64, reason string, now int64) error {
	if !r.Status.Ongoing() {
		return kapi.ErrUnknown
	}
	if fence != r.Fence || r.Defined == nil || !r.Defined.Vacant || r.PausedBy != "" {
		return kapi.ErrStaleFence
	}
	failVacant(r, reason+"; before that: "+r.State, now)
	return nil
}

// failVacant ends an action that nobody runs. If its last runner was only silent, that is its runner again: a proof that
// it is dead clears NotProvenDead.
func failVacant(r *store.Record, state string, now int64) {
	if r.Queued() {
		withdraw(r, &state, now)
		return
	}
	if r.Defined.Said != "" {
		state += "; it last said: " + r.Defined.Said
	}
	last := r.Defined.Last
	moveTo(r, kapi.StatusFailed, now)
	r.State, r.Runner, r.NotProvenDead = cutState(state), last, last != nil
	release(r)
	touch(r, now, false)
}

// explainVacant says what keeps peers from taking over a vacant action.
func explainVacant(r *store.Record, fence uint64, reason string, now int64) error {
	switch {
	case fence != r.Fence || r.Defined == nil || !r.Defined.Vacant || !r.Status.Active(), r.State == cutState(reason):
		return errUnchanged
	}
	r.State = cutState(reason)
	touch(r, now, false)
	return nil
}
