package kapi

import (
	"errors"
	"fmt"
)

// What may happen to an action, as pure functions of its record. The committer has them applied
// inside the store's write transaction, to the newest version of the record.

// errUnchanged says that a change was right but altered nothing: it takes no seq.
var errUnchanged = errors.New("unchanged")

// A report is what a runner says of its action. Zero fields say nothing.
type report struct {
	fence uint64
	// status is 1, 2, 3 or 5; 0 is no move.
	status Status
	// resetProgress makes the progress unknown, before progress is looked at.
	resetProgress bool
	progress      *float64
	state         *string
	exitCode      *int
	// goesOn is set with status 3 by a runner that gives up on work which it could
	// not stop.
	goesOn bool
}

// applyReport applies what a runner says.
func applyReport(r *Record, rep report, now int64) error {
	if rep.fence != r.Fence && !admits(r, rep) {
		return ErrStaleFence
	}
	switch {
	case r.Status == StatusCompleted && rep.status == StatusCompleted:
		return errUnchanged // a final report, repeated
	case r.Status == StatusAborted && rep.status == StatusFailed:
		return errUnchanged // the same, and it was dismissed meanwhile
	case !r.Status.Ongoing():
		return ErrUnknown
	case r.Status == StatusFailed:
		return reportAfterFailure(r, rep, now)
	}
	if rep.status != 0 && rep.status != r.Status && !r.Status.CanBecome(rep.status) {
		return &MoveError{r.Status, rep.status}
	}
	if r.queued() {
		switch rep.status {
		case StatusRunning, StatusImpacted:
			if r.waiting() || rep.fence != r.Fence {
				return ErrWaiting
			}
		case StatusFailed:
			giveUp(r, rep.state, now)
			return nil
		}
	}
	changed := r.Silence != ""
	r.Silence = ""
	changed = reportProgress(r, rep) || changed
	if rep.state != nil {
		if state := cutState(*rep.state); state != r.State {
			r.State, changed = state, true
		}
	}
	if rep.exitCode != nil {
		r.ExitCode, changed = rep.exitCode, true
	}
	if rep.status != 0 && rep.status != r.Status {
		moveTo(r, rep.status, now)
		changed = true
		if rep.status == StatusFailed {
			r.GivenUp = rep.goesOn
			releaseIfDeclared(r)
		}
	}
	if !changed {
		return errUnchanged
	}
	touch(r, now, true)
	return nil
}

// reportProgress applies the rule that progress never goes back by itself.
func reportProgress(r *Record, rep report) (changed bool) {
	before := r.Progress
	if rep.resetProgress {
		r.Progress = nil
	}
	if rep.progress != nil {
		if p, ok := clampProgress(*rep.progress); ok && (r.Progress == nil || p > *r.Progress) {
			r.Progress = &p
		}
	}
	if before == nil || r.Progress == nil {
		return before != r.Progress
	}
	return *before != *r.Progress
}

// reportAfterFailure hears out the runner of an action that was given up: its end
// is noted once. The status stays 3 and the keys stay held, because an admin has to
// look.
func reportAfterFailure(r *Record, rep report, now int64) error {
	final := rep.status == StatusFailed || rep.status == StatusCompleted
	switch {
	case final && r.workMayGoOn():
		r.LateEnd = true
		r.ExitCode = rep.exitCode
		r.State = cutState("finished after it was given up: " + lateEnd(rep))
		touch(r, now, true)
		return nil
	case final && (r.LateEnd || rep.status == StatusFailed):
		return errUnchanged // a final report, repeated
	case r.workMayGoOn():
		return ErrGivenUp
	case rep.status != 0:
		return &MoveError{r.Status, rep.status}
	default:
		return &MoveError{r.Status, r.Status}
	}
}

func lateEnd(rep report) string {
	switch {
	case rep.status == StatusCompleted && rep.exitCode != nil:
		return "exit 0"
	case rep.status == StatusCompleted:
		return "completed"
	case rep.state != nil && *rep.state != "":
		return *rep.state
	default:
		return "failed"
	}
}

// restore clears the mark of silence: the runner was heard again.
func restore(r *Record, fence uint64, now int64) error {
	if fence != r.Fence || r.Silence == "" || !r.Status.Active() {
		return errUnchanged
	}
	r.Silence = ""
	touch(r, now, true)
	return nil
}

// dismiss ends a failed action: 3 to 4 (kAPI's document, "Dismiss Failed Action").
func dismiss(r *Record, now int64) error {
	switch {
	case !r.Status.Ongoing():
		return ErrUnknown
	case r.Status != StatusFailed:
		return ErrNotFailed
	}
	moveTo(r, StatusAborted, now)
	touch(r, now, false)
	return nil
}

// requestCancel asks the runner to stop. The action fails when it has.
func requestCancel(r *Record, by string, now int64) error {
	switch {
	case !r.Status.Ongoing():
		return ErrUnknown
	case r.Status == StatusFailed:
		return &NotCancellableError{"it has failed already and can only be dismissed"}
	case r.CancelRequestedAt != 0:
		return errUnchanged
	}
	r.CancelRequestedAt = now
	r.CancelledBy = by
	touch(r, now, false)
	return nil
}

// giveUpBy fails an impacted action that nobody can end otherwise. Its work may go on, so it
// keeps its keys.
func giveUpBy(r *Record, by string, now int64) error {
	shown := r.Shown()
	switch {
	case !r.Status.Ongoing():
		return ErrUnknown
	case r.Status == StatusFailed:
		return &NotCancellableError{"it has failed already and can only be dismissed"}
	case r.queued():
		reason := "given up by " + by
		giveUp(r, &reason, now)
		return nil
	case shown.Status != StatusImpacted && r.Silence == "":
		return &NotCancellableError{"only an impacted action can be given up, and this one is " + shown.Status.String()}
	}
	r.CancelRequestedAt, r.CancelledBy = now, by
	moveTo(r, StatusFailed, now)
	r.GivenUp = true
	r.State = cutState(fmt.Sprintf("given up by %s; %s; before that: %s", by, notProvenDead, shown.State))
	touch(r, now, false)
	return nil
}

// moveTo makes a move that the caller knows to be allowed, with what follows from
// it: the first run sets StartedAt, a disposed action holds no key.
func moveTo(r *Record, to Status, now int64) {
	r.Status = to
	r.Silence = ""
	if to == StatusRunning && r.StartedAt == 0 {
		r.StartedAt = now
	}
	if !to.Ongoing() {
		r.Keys = nil
	}
}

// touch stamps a change; heard says that it is a sign of life of the runner.
func touch(r *Record, now int64, heard bool) {
	r.UpdatedAt = now
	if heard && r.Runner != nil {
		runner := *r.Runner
		runner.HeardAt = now
		r.Runner = &runner
	}
}
