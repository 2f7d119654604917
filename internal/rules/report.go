package rules

import (
	"errors"
	"fmt"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// What may happen to an action, as pure functions of its record. The committer applies them inside the
// store's write transaction, to the newest version of the record.

// errUnchanged says that a change was allowed but altered nothing, so it takes no seq.
var errUnchanged = errors.New("unchanged")

// A Report is what a runner reports on its action. Zero fields report nothing.
type Report struct {
	Fence uint64
	// Status is 1, 2, 3 or 5; 0 is no move.
	Status kapi.Status
	// ResetProgress makes the progress unknown before Progress is applied.
	ResetProgress bool
	Progress      *float64
	State         *string
	ExitCode      *int
	// NotProvenDead is set with status 3 by a runner that could not stop its work.
	NotProvenDead bool
	// Parked is set with status 2 by an operation that pauses now. It is refused, with errUnchanged, if nobody asks for
	// a pause any more.
	Parked bool
	// Again is set with status 1 by a runner that begins its operation again after an error: the number of the attempt,
	// from 2 on. So a report that is repeated counts once.
	Again int
}

// applyReport applies a runner's report.
func applyReport(r *store.Record, rep Report, now int64) error {
	switch {
	case rep.Fence == 0 || rep.Fence > r.Fence: // fences only grow
		return &kapi.FenceError{Fence: rep.Fence}
	case rep.Fence != r.Fence && !admits(r, rep):
		return kapi.ErrStaleFence
	}
	switch {
	case r.Status == kapi.StatusCompleted && rep.Status == kapi.StatusCompleted:
		return errUnchanged // a final report, repeated
	case r.Status == kapi.StatusAborted && rep.Status == kapi.StatusFailed:
		return errUnchanged // the same, and the action was dismissed meanwhile
	case !r.Status.Ongoing():
		return kapi.ErrUnknown
	case r.Status == kapi.StatusFailed:
		return reportAfterFailure(r, rep, now)
	}
	if rep.Status != 0 && rep.Status != r.Status && !r.Status.CanBecome(rep.Status) {
		return &kapi.MoveError{From: r.Status, To: rep.Status}
	}
	if d := r.Defined; d != nil && rep.Status != 0 && (d.Vacant || d.Unclaimed && rep.Status != kapi.StatusFailed) {
		return kapi.ErrStaleFence // it has no runner
	}
	if rep.Parked && r.PausedBy == "" {
		return errUnchanged
	}
	if rep.Status == kapi.StatusFailed && rep.State == nil && r.CancelRequestedAt != 0 {
		rep.State = cancelledState(r)
	}
	if r.Queued() {
		switch rep.Status {
		case kapi.StatusRunning, kapi.StatusImpacted:
			if r.Waiting() || rep.Fence != r.Fence {
				return kapi.ErrWaiting
			}
		case kapi.StatusFailed:
			withdraw(r, rep.State, now)
			return nil
		}
	}
	if !applyFields(r, rep, now) {
		return errUnchanged
	}
	touch(r, now, true)
	return nil
}

// applyFields writes an admissible report into the record, and returns whether that changed anything.
func applyFields(r *store.Record, rep Report, now int64) (changed bool) {
	changed = r.Silence != ""
	r.Silence = ""
	changed = reportOfDefined(r, &rep) || changed
	changed = reportProgress(r, rep) || changed
	if rep.State != nil {
		if state := cutState(*rep.State); state != r.State {
			r.State, changed = state, true
		}
	}
	if rep.ExitCode != nil {
		r.ExitCode, changed = rep.ExitCode, true
	}
	if rep.Status != 0 && rep.Status != r.Status {
		moveTo(r, rep.Status, now)
		changed = true
		if rep.Status == kapi.StatusFailed {
			r.NotProvenDead = rep.NotProvenDead
			release(r)
		}
	}
	return changed
}

// reportProgress applies the rule that progress never goes back unless it is reset.
func reportProgress(r *store.Record, rep Report) (changed bool) {
	before := r.Progress
	if rep.ResetProgress {
		r.Progress = nil
	}
	if rep.Progress != nil {
		if p, ok := ClampProgress(*rep.Progress); ok && (r.Progress == nil || p > *r.Progress) {
			r.Progress = &p
		}
	}
	if before == nil || r.Progress == nil {
		return before != r.Progress
	}
	return *before != *r.Progress
}

// reportAfterFailure takes a report on a failed action. If the action was not proven dead, the end that
// its runner reports is noted, once. The status stays 3 and the keys stay held, because an admin has to
// look.
func reportAfterFailure(r *store.Record, rep Report, now int64) error {
	final := rep.Status == kapi.StatusFailed || rep.Status == kapi.StatusCompleted
	switch {
	case final && r.NotProvenDead:
		r.LateEnd, r.NotProvenDead = true, false
		freeTurnOf(r)
		r.ExitCode = rep.ExitCode
		r.State = cutState("finished after it was given up: " + lateEnd(rep))
		touch(r, now, true)
		return nil
	case final && (r.LateEnd || rep.Status == kapi.StatusFailed):
		return errUnchanged // a final report, repeated
	case r.NotProvenDead:
		return kapi.ErrGivenUp
	case rep.Status != 0:
		return &kapi.MoveError{From: r.Status, To: rep.Status}
	default:
		return &kapi.MoveError{From: r.Status, To: r.Status}
	}
}

func lateEnd(rep Report) string {
	switch {
	case rep.Status == kapi.StatusCompleted && rep.ExitCode != nil:
		return fmt.Sprintf("exit %d", *rep.ExitCode)
	case rep.Status == kapi.StatusCompleted:
		return "completed"
	case rep.State != nil && *rep.State != "":
		return *rep.State
	case rep.ExitCode != nil:
		return fmt.Sprintf("exit %d", *rep.ExitCode)
	default:
		return "failed"
	}
}

// cancelledState returns the state of an action whose runner was asked to stop, and stopped without
// giving a reason.
func cancelledState(r *store.Record) *string {
	state := (&kapi.CancelledError{By: r.CancelledBy}).Error()
	return &state
}

// restore clears the silence: the runner was heard again.
func restore(r *store.Record, fence uint64, now int64) error {
	if fence != r.Fence || r.Silence == "" || !r.Status.Active() {
		return errUnchanged
	}
	r.Silence = ""
	touch(r, now, true)
	return nil
}

// dismiss ends a failed action: 3 to 4 (kAPI's document, "Dismiss Failed Action").
func dismiss(r *store.Record, now int64) error {
	switch {
	case !r.Status.Ongoing():
		return kapi.ErrUnknown
	case r.Status != kapi.StatusFailed:
		return kapi.ErrNotFailed
	}
	moveTo(r, kapi.StatusAborted, now)
	touch(r, now, false)
	return nil
}

// requestCancel asks the runner to stop. The action fails once the runner has stopped.
func requestCancel(r *store.Record, by string, now int64) error {
	switch {
	case !r.Status.Ongoing():
		return kapi.ErrUnknown
	case r.Status == kapi.StatusFailed:
		return &kapi.NotCancellableError{Reason: "it has failed already and can only be dismissed"}
	case r.CancelRequestedAt != 0:
		return errUnchanged
	case r.NoCancel != "":
		return &kapi.NotCancellableError{Reason: r.NoCancel}
	}
	r.CancelRequestedAt = now
	r.CancelledBy = by
	touch(r, now, false)
	switch {
	case r.Defined != nil && r.Defined.Unclaimed:
		withdraw(r, cancelledState(r), now)
	case r.Defined != nil && r.Defined.Vacant:
		failVacant(r, *cancelledState(r)+"; before that: "+r.State, now)
	}
	return nil
}

// giveUpBy fails an impacted action that can't be ended otherwise. It is not proven dead, so it
// keeps its keys.
func giveUpBy(r *store.Record, by string, now int64) error {
	shown := r.Shown()
	switch {
	case !r.Status.Ongoing():
		return kapi.ErrUnknown
	case r.Status == kapi.StatusFailed:
		return &kapi.NotCancellableError{Reason: "it has failed already and can only be dismissed"}
	case r.Queued():
		reason := "given up by " + by
		withdraw(r, &reason, now)
		return nil
	case r.Defined != nil && r.Defined.Vacant:
		r.CancelRequestedAt, r.CancelledBy = now, by
		failVacant(r, fmt.Sprintf("given up by %s; before that: %s", by, r.State), now)
		return nil
	case shown.Status != kapi.StatusImpacted && r.Silence == "":
		return &kapi.NotCancellableError{Reason: "only an impacted action can be given up, and this one is " + shown.Status.String()}
	}
	r.CancelRequestedAt, r.CancelledBy = now, by
	moveTo(r, kapi.StatusFailed, now)
	r.NotProvenDead = true
	r.State = cutState(fmt.Sprintf("given up by %s; %s; before that: %s", by, NotProvenDead, shown.State))
	touch(r, now, false)
	return nil
}

// admits reports whether the fence of rep is the one that an action that has not begun got when it was queued.
func admits(r *store.Record, rep Report) bool { return r.Queued() && rep.Fence == r.Pass() }
