package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// How a run of this process waits while its action is in the queue (rules/queue.go).

// await waits until the action has its keys, has passed its gate, and is running. If that fails, or takes longer than
// limit (0 or less is no limit), it takes the action from the queue.
func (r *run) await(limit time.Duration) (err error) {
	p, h := r.peer, r.handle
	defer func() { r.gate.tell(h.Action(), err) }()
	defer p.follow.attend()() // other peers' commits may grant the keys
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	var look <-chan time.Time
	if r.undone != nil {
		ticker := time.NewTicker(lookAtTransaction)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case <-h.granted:
			if began, err := r.enter(); began || err != nil {
				return err
			}
		case <-look:
			if _, adopted := p.view.Get(h.id); adopted {
				look = nil
			} else if r.gone() {
				h.seal()
				return errUndone
			}
		case <-over:
			if began, err := r.enter(); began || err != nil { // the keys may have been granted just now
				return err
			}
			return r.leaveQueue(p.refusal(h.id, limit))
		case <-r.ctx.Done():
			return r.leaveQueue(context.Cause(r.ctx))
		}
	}
}

// enter passes the gate, if there is one, and begins. It is false if begin is.
func (r *run) enter() (bool, error) {
	if r.gate == nil || r.gate.preflight == nil {
		return r.begin()
	}
	if now, ok := r.peer.view.Get(r.handle.id); !ok || now.Waiting() {
		return false, nil
	}
	var refused *kapi.PreflightError
	switch err := r.gate.preflight(r.ctx); {
	case errors.As(err, &refused):
		return false, r.withdraw(err, "refused by its preflight: "+refused.Reason, rules.RefusalOf(err))
	case err != nil:
		return false, r.withdraw(err, err.Error(), nil)
	}
	return r.begin()
}

// begin reports the action as running. It is false if the action doesn't have its keys, or lost them
// meanwhile.
func (r *run) begin() (bool, error) {
	p, h := r.peer, r.handle
	for pauses := storePauses(); ; {
		now, ok := p.view.Get(h.id)
		if !ok || now.Waiting() || now.RunnerID() != p.self.ID {
			return false, nil // if the action is gone or lost, r.ctx ends
		}
		rep := rules.Report{Fence: now.Fence, Status: kapi.StatusRunning}
		c := submissionOf(rules.Change{Kind: rules.KindReport, ID: h.id, Report: rep})
		err := p.commits.commit(r.ctx, c)
		switch {
		case err == nil:
			h.mu.Lock()
			h.fence, h.action = c.Record.Fence, c.Record.Shown()
			if r.defined != nil { // a continuation inherits it when it gets its keys
				r.defined.origin = c.Record.Defined.Origin
			}
			h.mu.Unlock()
			return true, nil
		case errors.Is(err, kapi.ErrWaiting), errors.Is(err, kapi.ErrStaleFence):
			return false, nil
		case !errors.Is(err, kapi.ErrUnavailable):
			return false, r.leaveQueue(err)
		}
		p.log.Warn("an action that has got its keys can't begin yet", "action", h.id, "error", err)
		select {
		case <-time.After(pauses.Next()):
		case <-r.ctx.Done():
			return false, r.leaveQueue(context.Cause(r.ctx))
		}
	}
}

// leaveQueue fails the waiting action for a reason, and returns the reason.
func (r *run) leaveQueue(reason error) error {
	return r.withdraw(reason, "gave up waiting: "+reason.Error(), nil)
}

// withdraw ends the action, which has not begun, with a state. It returns the reason.
func (r *run) withdraw(reason error, state string, refusal *store.Refusal) error {
	h := r.handle
	if r.defined != nil && refusal == nil && r.handsOver() {
		if done, err := r.handOver(); done {
			return errors.Join(reason, err)
		}
	}
	if !h.seal() { // Close has failed it already
		return reason
	}
	now, ok := r.peer.view.Get(h.id)
	if !ok {
		if r.undone != nil { // its transaction may be committed, and the start not adopted yet
			r.peer.ops.doubt(h.id)
		}
		return reason
	}
	if now.RunnerID() != r.peer.self.ID { // another runner has it, whose fence now has
		return reason
	}
	rep := rules.Report{Fence: now.Pass(), Status: kapi.StatusFailed, State: &state}
	c := submissionOf(rules.Change{Kind: rules.KindReport, ID: h.id, Report: rep, Refusal: refusal})
	if err := r.peer.commits.commit(r.peer.ctx, c); err != nil && !errors.Is(err, kapi.ErrUnknown) {
		return errors.Join(reason, fmt.Errorf("take action %s from the queue: %w", h.id, err)) // the sweeper tries again
	}
	return reason
}

// refusal returns the *HeldError that the start would have been refused with if it hadn't waited, or,
// if the holder can't be read, an error that says how long it waited.
func (p *Peer) refusal(id string, waited time.Duration) error {
	if r, ok := p.view.Get(id); ok && r.WaitsFor != nil {
		if found, err := p.sweep.some([]string{r.WaitsFor.Action}); err == nil && len(found) == 1 {
			held := &kapi.HeldError{Key: r.WaitsFor.Key, Holder: found[0].Shown(), Waited: waited}
			if r.WaitsFor.Operation != "" && r.Defined != nil {
				held.Operation, held.Limit = r.WaitsFor.Operation, r.Defined.Limit
			}
			return p.explain(held)
		}
	}
	return fmt.Errorf("its turn did not come within %v", waited)
}
