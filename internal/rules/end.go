package rules

import (
	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// How an action moves to a status, and what it gives back.

// withdraw ends an action that never began: 0 to 3 to 4 at once, as there is nothing for an admin to inspect, unless
// it has taken over what another has left.
func withdraw(r *store.Record, state *string, now int64) {
	moveTo(r, kapi.StatusFailed, now)
	if state != nil {
		r.State = cutState(*state)
	}
	if hasInherited(r) {
		release(r)
	} else {
		moveTo(r, kapi.StatusAborted, now)
	}
	r.Waits, r.WaitsFor = nil, nil
	touch(r, now, false)
}

// release frees the turn of a failed action, and its keys if it was declared to release them, if its work is
// known to have ended.
func release(r *store.Record) {
	if r.NotProvenDead {
		return
	}
	if freeTurnOf(r); r.ReleaseOnFailure {
		r.Keys = nil
	}
}

// moveTo makes a move that the caller knows to be allowed, and its consequences: the first run sets
// StartedAt, an action that has ended is not paused, and a disposed one holds no key.
func moveTo(r *store.Record, to kapi.Status, now int64) {
	r.Status = to
	r.Silence = ""
	if to == kapi.StatusRunning && r.StartedAt == 0 {
		r.StartedAt = now
	}
	if !to.Active() {
		r.NoCancel, r.PausedBy = "", ""
		if d := r.Defined; d != nil && (d.Unclaimed || d.Vacant || d.Parked) {
			define(r, func(d *store.Defined) {
				d.Unclaimed, d.Vacant, d.Why, d.Last = false, false, "", nil
				d.Parked, d.Said = false, ""
			})
		}
	}
	if !to.Ongoing() {
		r.Keys = nil
		freeTurnOf(r)
	}
}

// touch sets the time of a change. heard says that the change is a sign of life of the runner.
func touch(r *store.Record, now int64, heard bool) {
	r.UpdatedAt = now
	if heard && r.Runner != nil {
		runner := *r.Runner
		runner.HeardAt = now
		r.Runner = &runner
	}
}
