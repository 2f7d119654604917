package rules

import (
	"cmp"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// What the runner of a defined operation, or an operator, may do while it works.

// savable returns an error if a runner with this fence may not save checkpoints.
func savable(r *store.Record, fence uint64) error {
	switch {
	case fence == 0 || fence > r.Fence:
		return &kapi.FenceError{Fence: fence}
	case fence != r.Fence:
		return kapi.ErrStaleFence
	case r.Status == kapi.StatusPending:
		return kapi.ErrWaiting
	case !r.Status.Active():
		return kapi.ErrUnknown
	}
	return nil
}

// saveCheckpoints saves checkpoints. The record doesn't change, so that takes no seq.
func (pl *Plan) saveCheckpoints(c *Change, r *store.Record) error {
	if err := savable(r, c.Fence); err != nil {
		return err
	}
	pl.save(r.ID, c.Saved)
	mark := pl.mark(r.ID)
	for _, s := range c.Saved {
		mark.Saves, mark.Version = mark.Saves+1, s.Version
	}
	pl.newMarks[r.ID] = mark
	return nil
}

// mark returns how far an action's checkpoints have come by now.
func (pl *Plan) mark(id string) store.CheckpointMark {
	if mark, ok := pl.newMarks[id]; ok {
		return mark
	}
	return pl.marks[id]
}

// forbid sets why the action can't be cancelled now; "" is that it can be.
func forbid(r *store.Record, fence uint64, reason string, now int64) error {
	if err := savable(r, fence); err != nil {
		return err
	}
	reason = cutState(reason)
	switch {
	case reason == r.NoCancel:
		return errUnchanged
	case reason != "" && r.CancelRequestedAt != 0:
		return &kapi.CancelledError{By: r.CancelledBy}
	}
	r.NoCancel = reason
	touch(r, now, true)
	return nil
}

// pausable returns an error if an action can't be paused or resumed.
func pausable(r *store.Record) error {
	not := func(reason string) error { return &kapi.NotPausableError{Reason: reason} }
	switch {
	case !r.Status.Ongoing():
		return kapi.ErrUnknown
	case r.Defined == nil:
		return not("only actions of defined operations can be")
	case r.Status == kapi.StatusPending:
		return not("it has not begun")
	case r.Status == kapi.StatusFailed:
		return not("it has failed")
	}
	return nil
}

// pause asks the operation to pause. It pauses when it next asks whether it may proceed.
func pause(r *store.Record, by string, now int64) error {
	if err := pausable(r); err != nil {
		return err
	}
	switch {
	case r.CancelRequestedAt != 0:
		return &kapi.NotPausableError{Reason: "it was " + (&kapi.CancelledError{By: r.CancelledBy}).Error()}
	case r.PausedBy != "":
		return errUnchanged
	}
	r.PausedBy = cmp.Or(by, "somebody")
	if r.Defined.Vacant {
		r.State = vacantState(r)
	}
	touch(r, now, false)
	return nil
}

// goOn ends a pause.
func goOn(r *store.Record, now int64) error {
	if err := pausable(r); err != nil {
		return err
	}
	if r.PausedBy == "" {
		return errUnchanged
	}
	if r.PausedBy = ""; r.Defined.Vacant {
		r.State = vacantState(r)
	}
	touch(r, now, false)
	return nil
}

func paused(r *store.Record) string { return "paused by " + r.PausedBy }

// reportOfDefined applies what only the runners of defined operations report. It changes rep to what remains of it.
func reportOfDefined(r *store.Record, rep *Report) (changed bool) {
	if r.Defined == nil {
		return false
	}
	switch d := r.Defined; {
	case rep.Parked && d.Parked:
	case rep.Parked:
		said := cutState(*cmp.Or(rep.State, &r.State))
		define(r, func(d *store.Defined) { d.Parked, d.Said = true, said })
		rep.State = new(paused(r))
		return true
	case d.Parked && rep.Status == kapi.StatusRunning:
		rep.State = cmp.Or(rep.State, &d.Said)
		define(r, func(d *store.Defined) { d.Parked, d.Said = false, "" })
		changed = true
	case d.Parked && rep.State != nil && rep.Status != kapi.StatusFailed && rep.Status != kapi.StatusCompleted:
		said := cutState(*rep.State)
		changed, rep.State = said != d.Said, nil
		define(r, func(d *store.Defined) { d.Said = said })
	}
	if rep.Again > max(r.Attempt, 1) && rep.Status == kapi.StatusRunning {
		r.Attempt = rep.Again
		r.NoCancel = "" // the new run says again whatever the last one said
		changed = true
	}
	return changed
}
