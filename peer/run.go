package peer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Start starts an action and its operation, and returns the action once the start is on
// disk. The error is a *HeldError if an ongoing action holds one of the keys, an
// *InvalidError, ErrClosed, or wraps ErrUnavailable. After an error the operation is not
// run.
//
// ctx limits only the start: the operation's context has its values, but not its
// cancellation. Use Do to wait for the end.
func (p *Peer) Start(ctx context.Context, spec kapi.Spec, op kapi.Operation) (kapi.Action, error) {
	r, err := p.launch(ctx, spec, op)
	if err != nil {
		return kapi.Action{}, err
	}
	started := r.handle.action // before it runs: one that has waited for its keys changes it
	go r.run()
	return started, nil
}

// Do starts an action like Start, runs its operation and returns when its end is on disk.
// The error is that of the start or of the operation, or says that the end could not be
// recorded. When ctx ends, Do asks the operation to stop and waits for it.
func (p *Peer) Do(ctx context.Context, spec kapi.Spec, op kapi.Operation) error {
	r, err := p.launch(ctx, spec, op)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		r.handle.cancel(fmt.Errorf("stopped by its caller: %w", context.Cause(ctx)))
	})
	defer stop()
	return r.run()
}

// A run is one operation, from the start of its action to the end.
type run struct {
	peer   *Peer
	ctx    context.Context
	handle *handle
	op     kapi.Operation
	wait   time.Duration
	// gate is for defined operations; nil is for others.
	gate *gate
	// undone, for a start that a transaction records, reports whether it was rolled back.
	undone func(context.Context) (bool, error)
	// defined is nil unless the operation is a defined one. Then op is not used.
	defined *defined
}

// launch starts the action and makes its operation ready to run.
func (p *Peer) launch(ctx context.Context, spec kapi.Spec, op kapi.Operation) (*run, error) {
	spec, err := spec.Validate()
	if err != nil {
		return nil, err
	}
	id := newID()
	opCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	h := p.newHandle(id, cancel)
	if err := p.ops.register(h); err != nil {
		return nil, err
	}
	record := &store.Record{
		Action: kapi.Action{
			ID: id, Title: spec.Title, Description: spec.Description,
			Status: kapi.StatusRunning, Keys: spec.Keys,
			Runner: &kapi.Runner{ID: p.self.ID, Host: p.self.Host, PID: p.self.PID},
		},
		ReleaseOnFailure: spec.ReleaseOnFailure, LeaveRunning: spec.LeaveRunning,
	}
	r := &run{peer: p, ctx: opCtx, handle: h, op: op, wait: spec.Wait}
	_, err = r.start(ctx, rules.Change{
		Kind: rules.KindStart, Action: record, DismissFailed: spec.DismissFailed, Wait: spec.Wait != 0, Within: spec.Within,
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// start commits the start of the action, whose handle is registered. After an error, and if the start was done before
// (see rules.Change.Asked), the run is dropped.
func (r *run) start(ctx context.Context, start rules.Change) (*submission, error) {
	p, h := r.peer, r.handle
	began := time.Now()
	h.starting.Store(&began)
	defer p.sweep.started()
	c, err := p.commitStart(ctx, start)
	switch {
	case err != nil:
		if errors.Is(err, kapi.ErrOutcomeUnknown) {
			p.ops.doubt(h.id)
		}
		r.drop()
		return nil, p.explain(err)
	case c.Record.ID != h.id:
		r.drop()
		return c, nil
	}
	h.starting.Store(nil)
	r.have(c)
	return c, nil
}

// have gives the handle what the commit of its start or claim has brought.
func (r *run) have(c *submission) {
	h := r.handle
	h.mu.Lock()
	h.action, h.fence = c.Record.Shown(), c.Record.Fence
	h.mu.Unlock()
	for _, a := range c.Dismissed {
		r.peer.commits.logDismissed(a, h.id)
	}
	h.dismissed = c.Dismissed
}

// explain adds to a *HeldError when the holder's runner was last heard. Other errors are returned as
// they are.
func (p *Peer) explain(err error) error {
	var held *kapi.HeldError
	if errors.As(err, &held) {
		if err := p.refreshHeard(&held.Holder); err != nil {
			p.log.Warn("can't read when the holder of a key was last heard", "error", err)
		}
	}
	return err
}

// run runs the operation and reports its end.
func (r *run) run() error {
	defer r.peer.ops.unregister(r.handle)
	defer close(r.handle.ended)
	defer r.handle.cancel(nil)
	if r.handle.action.Status == kapi.StatusPending {
		if err := r.await(r.wait); err != nil {
			return err
		}
	}
	if r.defined != nil {
		return r.runDefined()
	}
	err := r.call(func() error { return r.op(r.ctx, r.handle) })
	return errors.Join(err, r.finish(r.outcome(err)))
}

// A panicError is the error of an operation that panicked.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

var errExited = errors.New("the operation's goroutine exited without returning")

// call runs the operation. A panic or runtime.Goexit becomes its error.
func (r *run) call(work func() error) (err error) {
	done := make(chan struct{})
	go func() { // in its own goroutine, because Goexit can't be recovered from
		defer close(done)
		err = errExited
		defer func() {
			if v := recover(); v != nil {
				r.peer.log.Error("an operation panicked", "action", r.handle.id, "panic", v, "stack", string(debug.Stack()))
				err = &panicError{v}
			}
		}()
		err = work()
	}()
	<-done
	return err
}

// outcome turns the error that the operation returned into its final report.
func (r *run) outcome(err error) rules.Report {
	if err == nil {
		return rules.Report{Status: kapi.StatusCompleted}
	}
	state := kapi.FailureState(r.ctx, err)
	return rules.Report{Status: kapi.StatusFailed, State: &state}
}

// storePauses returns the pauses between attempts to write while the store is not available.
func storePauses() backoff.Backoff { return backoff.New(50*time.Millisecond, 2*time.Second) }

// finish makes the final report. It tries again while the store is not available.
func (r *run) finish(rep rules.Report) error {
	p, h := r.peer, r.handle
	c, err := h.submit(rep, true)
	if errors.Is(err, kapi.ErrUnknown) {
		return fmt.Errorf("action %s had failed: %w", h.id, kapi.ErrStopped) // it outlived Close's grace period
	}
	if err == nil {
		err = p.commits.wait(p.ctx, c)
	}
	var deadline <-chan time.Time
	if p.opts.EndTimeout > 0 {
		timer := time.NewTimer(p.opts.EndTimeout)
		defer timer.Stop()
		deadline = timer.C
	}
	for pauses := storePauses(); errors.Is(err, kapi.ErrUnavailable); {
		p.log.Warn("the end of an operation can't be recorded yet", "action", h.id, "error", err)
		select {
		case <-time.After(pauses.Next()):
		case <-deadline:
			p.ops.leaveUnsaid(h.id, h.again(rep))
			return fmt.Errorf("record the end of action %s: %w", h.id, err)
		case <-p.ctx.Done():
			return fmt.Errorf("record the end of action %s: %w", h.id, err)
		}
		c = h.change(h.again(rep))
		err = p.commits.commit(p.ctx, c)
	}
	switch {
	case err != nil:
		return fmt.Errorf("record the end of action %s: %w", h.id, err)
	case rep.Status == kapi.StatusCompleted && c.Record.Status == kapi.StatusFailed:
		return fmt.Errorf("action %s had failed: %w", h.id, kapi.ErrGivenUp)
	}
	return nil
}
