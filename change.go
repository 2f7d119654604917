package kapi

// A kind says what a change wants.
type kind int

const (
	kindStart   kind = iota + 1 // a new action
	kindReport                  // what a runner says
	kindVerdict                 // what somebody else has found out about a runner
	kindRestore                 // a silent runner is heard again
	kindDismiss                 // a failed action
	kindCancel                  // the runner is to stop
	kindGiveUp                  // an impacted action that can't be ended otherwise
	kindReclaim                 // an action that the history has lost
	kindNudge                   // nothing by itself: what there is to do is done
)

// A change is what somebody wants of the actions: a value, of which only those fields count that
// belong to its kind.
type change struct {
	kind kind
	// id is that of the action; a start and a reclaim have it in their action.
	id string
	// action is what a start adds, and a reclaim puts back.
	action *Record

	// Of a start: the Spec's, whether it may be queued, and what of its answer is to be kept.
	dismissFailed bool
	wait          bool
	within        []string
	asked         *Answer
	// unjudged marks a start whose refusal does not count yet: its holder is judged first.
	unjudged bool

	report report
	// heard says that a report comes from the action's runner itself, elsewhere.
	heard bool

	verdict verdict
	// beat, of a verdict, is what the runner's Beat must still be: who judged its silence rechecks it
	// inside the transaction.
	runner string
	beat   uint64

	fence uint64 // of a restore
	by    string // who cancels, or gives up
	// wants, of a nudge, has it refused as a start would be that wants these keys.
	wants []string
}

// An outcome is what became of a change.
type outcome struct {
	// record is the action as it is then.
	record Record
	// changed is false if that was so before, or the change was refused.
	changed bool
	// dismissed are the failed actions that a start has dismissed, as they were before.
	dismissed []Action
	// kept is what a start was answered that asked for it, or was answered before.
	kept *Answer
	// lostTo says who has got the keys of what was reclaimed.
	lostTo error
	err    error
}

// applyTo applies a change of an action that there is.
func (c *change) applyTo(r *Record, now int64) error {
	switch c.kind {
	case kindReport:
		return applyReport(r, c.report, now)
	case kindVerdict:
		return applyVerdict(r, c.verdict, now)
	case kindRestore:
		return restore(r, c.fence, now)
	case kindDismiss:
		return dismiss(r, now)
	case kindCancel:
		return requestCancel(r, c.by, now)
	case kindGiveUp:
		return giveUpBy(r, c.by, now)
	}
	panic("a change of no kind")
}
