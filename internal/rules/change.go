package rules

import (
	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A Kind says what a change does.
type Kind int

const (
	KindStart   Kind = iota + 1 // a new action
	KindReport                  // what a runner says
	KindVerdict                 // what a peer has found out about a silent runner
	KindRestore                 // a silent runner has renewed its lease
	KindDismiss                 // dismisses a failed action
	KindCancel                  // asks the runner to stop
	KindGiveUp                  // fails an impacted action that can't be ended otherwise
	KindReclaim                 // puts back an action that the store has lost
	KindNudge                   // changes nothing itself, but has the queue looked at

	// These are only for actions of defined operations.

	KindClaim    // a peer that offers the operation takes on a recorded start, or an action without a runner
	KindSave     // saves a checkpoint
	KindVacate   // the runner gives its action up, in a planned stop or because it could not renew its lease in time
	KindForbid   // the runner says why it can't be cancelled now, or that it can
	KindPause    // asks the operation to pause
	KindContinue // ends the pause
	KindAbandon  // fails an action that has waited for a runner for too long
	KindExplain  // says what keeps peers from taking over an action without a runner
)

// A Change is a request to change an action. Only the fields that belong to its kind count.
type Change struct {
	Kind Kind
	// ID is that of the action. A start and a reclaim have it in Action.
	ID string
	// Sender, if set, is the only one whose actions the change may concern: other actions are refused as
	// unknown. It is for reports, cancellations and giving up.
	Sender string
	// Action is the record that a start adds, or a reclaim puts back.
	Action *store.Record

	// For a start. Wait says whether it may be queued. Asked is set if the answer is to be kept, and names
	// the request.
	DismissFailed bool
	Wait          bool
	Within        []string
	Asked         *store.Answer
	// Unjudged marks a start whose refusal is not counted yet, because the holder is judged first and the
	// start is tried again. A claim that has it is refused itself, and the start stays unclaimed.
	Unjudged bool

	Report Report
	// Heard says that a report comes directly from a runner elsewhere, so that it renews the lease.
	Heard bool

	Verdict Verdict
	// Runner and Beat are for a verdict. It applies only if the action still has this runner, which has not
	// renewed its lease since Beat.
	Runner string
	Beat   uint64

	// Fence is for a restore, and for those of defined operations, except pauses. Any other fence than the action's is
	// refused as stale.
	Fence uint64
	// Late, for KindVacate, says that the stop isn't planned: the runner has stopped itself because it could not renew
	// its lease in time.
	Late bool
	// By is for a cancellation, giving up and pauses: who asked for it.
	By string
	// Saved is for a start (the arguments), for KindSave, and for a reclaim (everything that was saved).
	Saved []store.Saved
	// Reads is the oldest version of checkpoints that the claiming peer can read, Action.Defined.Version the newest.
	// Action of a claim has the Runner, the Keys, and the Defined of the peer's definition.
	Reads int
	// Reason is for KindForbid, KindAbandon and KindExplain.
	Reason string
	// Refusal, with a report of status 3 on an action that has not begun, is kept with its end.
	Refusal *store.Refusal
	// Wants and Stalled are for a nudge. It is refused if a start that wants the keys in Wants would be. The
	// keys in Stalled are given to the actions that wait for them, if they are free.
	Wants, Stalled []string
}

// An Outcome is what became of a change.
type Outcome struct {
	// Record is the action after the change.
	Record store.Record
	// Changed is false if the change altered nothing or was refused. It is meaningless for a start that
	// was answered before.
	Changed bool
	// Dismissed has the failed actions that a start dismissed, as they were before.
	Dismissed []kapi.Action
	// Kept is the answer to a start that has Asked, whether it is new or from an earlier request.
	Kept *store.Answer
	// LostTo says, as an error, which action holds the keys of a reclaimed action by now.
	LostTo error
	Err    error
}

// applyTo applies a change to an existing action.
func (c *Change) applyTo(r *store.Record, now int64) error {
	switch c.Kind {
	case KindReport:
		return c.report(r, now)
	case KindVerdict:
		return applyVerdict(r, c.Verdict, now)
	case KindRestore:
		return restore(r, c.Fence, now)
	case KindDismiss:
		return dismiss(r, now)
	case KindCancel:
		return requestCancel(r, c.By, now)
	case KindGiveUp:
		return giveUpBy(r, c.By, now)
	case KindForbid:
		return forbid(r, c.Fence, c.Reason, now)
	case KindPause:
		return pause(r, c.By, now)
	case KindContinue:
		return goOn(r, now)
	case KindAbandon:
		return abandon(r, c.Fence, c.Reason, now)
	case KindExplain:
		return explainVacant(r, c.Fence, c.Reason, now)
	}
	panic("a change of no kind")
}

// report applies a report, and keeps the reason if the start is refused by it.
func (c *Change) report(r *store.Record, now int64) error {
	begun := !r.Queued()
	err := applyReport(r, c.Report, now)
	if err == nil && !begun && !r.Status.Active() && r.Defined != nil && c.Refusal != nil {
		define(r, func(d *store.Defined) { d.Refusal = c.Refusal })
	}
	return err
}
