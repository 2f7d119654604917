package store

import "github.com/kettubot/kapi"

// A Record is what a store keeps of an action: what its runner last reported, and
// what kapi must know beside it. Stores write and read records whole and decide
// nothing from them.
type Record struct {
	// Action is as its runner last reported it. Shown is what people see.
	kapi.Action
	// Fence is the seq of the change that made the runner the holder.
	Fence uint64
	// ReleaseOnFailure is the Spec's.
	ReleaseOnFailure bool
	// LeaveRunning is the Spec's.
	LeaveRunning bool
	// Silence, if not empty, says why the action is shown as impacted although its
	// runner never said so. The runner's next report clears it.
	Silence string
	// LateEnd is true once the runner of an action that was not proven dead reported its end after all.
	LateEnd bool
	// Waits are the keys that a pending action is queued for: all that its start wanted. It
	// is empty once the action holds them.
	Waits []string
	// Ticket is the fence of the start of an action that was queued, 0 of every other. It
	// tells the action's place in the queue, and is as good as the fence while the action is
	// pending: the fence is that of the change which gave it its keys.
	Ticket uint64
	// DismissFailed is the Spec's, of an action that was queued.
	DismissFailed bool
	// Sender is the id of who started it by way of a server, "" of all others.
	Sender string
}

// Shown returns the action as people see it: a silent one is impacted and says why.
// A pending one stays pending, because kAPI knows no move from 0 to 2.
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

// Queued reports whether the action is in the queue, or has its keys from there and has not
// begun.
func (r *Record) Queued() bool { return r.Ticket != 0 && r.Status == kapi.StatusPending }

// Waiting reports whether the action has yet to get its keys.
func (r *Record) Waiting() bool { return r.Queued() && len(r.Waits) > 0 }

// Eligible reports whether a waiting action is not passed over.
func (r *Record) Eligible() bool {
	return r.Waiting() && r.Silence == "" && r.CancelRequestedAt == 0
}
