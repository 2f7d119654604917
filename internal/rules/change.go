package rules

import (
	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A Kind says what a change wants.
type Kind int

const (
	KindStart   Kind = iota + 1 // a new action
	KindReport                  // what a runner says
	KindVerdict                 // what somebody else has found out about a runner
	KindRestore                 // a silent runner is heard again
	KindDismiss                 // a failed action
	KindCancel                  // the runner is to stop
	KindGiveUp                  // an impacted action that can't be ended otherwise
	KindReclaim                 // an action that the history has lost
	KindNudge                   // nothing by itself: what there is to do is done
)

// A Change is what somebody wants of the actions: a value, of which only those fields count that
// belong to its kind.
type Change struct {
	Kind Kind
	// ID is that of the action; a start and a reclaim have it in their action.
	ID string
	// Sender, if set, has the action unknown unless that one started it: of reports, and of who cancels.
	Sender string
	// Action is what a start adds, and a reclaim puts back.
	Action *store.Record

	// Of a start: the Spec's, whether it may be queued, and what of its answer is to be kept.
	DismissFailed bool
	Wait          bool
	Within        []string
	Asked         *store.Answer
	// Unjudged marks a start whose refusal does not count yet: its holder is judged first.
	Unjudged bool

	Report Report
	// Heard says that a report comes from the action's runner itself, elsewhere.
	Heard bool

	Verdict Verdict
	// Runner and Beat, of a verdict, are what the action's runner and its Beat must still be: a silence
	// that was judged is rechecked inside the transaction.
	Runner string
	Beat   uint64

	Fence uint64 // of a restore
	By    string // who cancels, or gives up
	// Wants, of a nudge, has it refused as a start would be that wants these keys.
	Wants []string
}

// An Outcome is what became of a change.
type Outcome struct {
	// Record is the action as it is then.
	Record store.Record
	// Changed is false if that was so before, or the change was refused. It says nothing of a start that
	// was answered before.
	Changed bool
	// Dismissed are the failed actions that a start has dismissed, as they were before.
	Dismissed []kapi.Action
	// Kept is what a start was answered that asked for it, or was answered before.
	Kept *store.Answer
	// LostTo says who has got the keys of what was reclaimed.
	LostTo error
	Err    error
}

// applyTo applies a change of an action that there is.
func (c *Change) applyTo(r *store.Record, now int64) error {
	switch c.Kind {
	case KindReport:
		return applyReport(r, c.Report, now)
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
	}
	panic("a change of no kind")
}
