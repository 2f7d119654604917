package store

import "github.com/kettubot/kapi"

// A Record is what a store keeps of an action: what its runner last reported, and what kapi needs
// besides. Stores read and write records whole, and base no decision on them.
type Record struct {
	// Action is as its runner last reported it. Shown returns what people see.
	kapi.Action
	// Fence is the seq of the change that made the runner the holder.
	Fence uint64
	// ReleaseOnFailure is Spec.ReleaseOnFailure.
	ReleaseOnFailure bool
	// LeaveRunning is Spec.LeaveRunning.
	LeaveRunning bool
	// Silence, if not empty, says why the action is shown as impacted although its runner never said
	// so. The runner's next report clears it.
	Silence string
	// LateEnd is true once the runner of an action that was failed as not proven dead has reported its
	// end after all.
	LateEnd bool
	// Waits are the keys that a pending action is queued for: all that its start asked for. It is empty
	// once the action holds them.
	Waits []string
	// Ticket is the fence that a queued action got when it was started, 0 if it was not queued. It is
	// the action's place in the queue. See Pass.
	Ticket uint64
	// DismissFailed is Spec.DismissFailed of a queued action.
	DismissFailed bool
	// Sender is the id of whoever started it over a server, "" if it was not started over one.
	Sender string
	// Defined is what is kept of the action of a defined operation, nil for any other.
	Defined *Defined
}

// Shown returns the action as people see it: a silent one is impacted and says why. A silent pending
// one stays pending, because kAPI has no move from 0 to 2.
func (r *Record) Shown() kapi.Action {
	a := r.Action
	if r.Silence == "" || !a.Status.Active() {
		return a
	}
	if a.Status == kapi.StatusRunning {
		a.Status = kapi.StatusImpacted
	}
	a.State = r.Silence
	return a
}

// RunnerID returns the id of the record's runner, "" if it has none.
func (r *Record) RunnerID() string {
	if r.Runner == nil {
		return ""
	}
	return r.Runner.ID
}

// Queued reports whether the action is in the queue, or got its keys from the queue and has not begun.
func (r *Record) Queued() bool { return r.Ticket != 0 && r.Status == kapi.StatusPending }

// Waiting reports whether the action is in the queue and doesn't have its keys yet.
func (r *Record) Waiting() bool { return r.Queued() && len(r.Waits) > 0 }

// Eligible reports whether a waiting action takes its turn; one that is silent, cancelled or without a runner is
// passed over.
func (r *Record) Eligible() bool {
	return r.Waiting() && r.Silence == "" && r.CancelRequestedAt == 0 && (r.Defined == nil || !r.Defined.Vacant)
}

// Pass returns the fence that is accepted like Fence while the action is pending and was queued, because Fence changes
// when the action gets its keys. It is the ticket, or the fence of a later claim.
func (r *Record) Pass() uint64 {
	if r.Defined != nil && r.Defined.Claim != 0 {
		return r.Defined.Claim
	}
	return r.Ticket
}
