package peer

import (
	"context"
	"errors"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Starts that a transaction of the embedder's own records (postgres.StartTx). Such a transaction
// may stay open for long, so it takes neither a seq nor the store's write lock: it claims the
// keys, and records what is to be started. Once it is committed, the next write transaction of any
// peer adopts the start, which is to say gives it its seq. From then on the action is like one that
// has waited for its turn: it is pending and has its keys, and its runner, which the feed tells of
// it, begins.

// A Prepared start is ready to be recorded by a transaction. One of Await and Discard must be
// called, once.
type Prepared struct {
	store.RecordedStart
	// Store is the peer's, and Epoch that of the history in it.
	Store Store
	Epoch string

	run *run
}

// Prepare makes an operation ready whose start a store records in a transaction of its caller's
// own; embedders call the store's function for that. The errors are those of Start, but for
// *HeldError; Wait and DismissFailed are refused.
func (p *Peer) Prepare(ctx context.Context, spec kapi.Spec, op kapi.Operation) (*Prepared, error) {
	spec, err := spec.Validate()
	if err != nil {
		return nil, err
	}
	switch {
	case spec.Wait != 0:
		return nil, &kapi.InvalidError{Field: "wait", Reason: "is not possible in a transaction: nobody could be told whose turn it is"}
	case spec.DismissFailed:
		return nil, &kapi.InvalidError{Field: "dismiss failed", Reason: "is not possible in a transaction: dismiss before it begins"}
	}
	if err := p.Follow(ctx); err != nil { // the feed tells what is to be adopted
		return nil, err
	}
	// Whoever adopts the start, and meets silence afterwards, must know the runner.
	renewCtx, cancelRenew := store.WithPatience(ctx, p.opts.StoreTimeout)
	defer cancelRenew(nil)
	if err := p.store.Renew(renewCtx, p.self); err != nil {
		return nil, err
	}
	opCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	h := p.newHandle(newID(), cancel)
	r := store.Record{
		Action: kapi.Action{
			ID: h.id, Title: spec.Title, Description: spec.Description, Status: kapi.StatusPending, Keys: spec.Keys,
			Runner: &kapi.Runner{ID: p.self.ID, Host: p.self.Host, PID: p.self.PID},
		},
		ReleaseOnFailure: spec.ReleaseOnFailure, LeaveRunning: spec.LeaveRunning,
	}
	h.action = r.Action
	start, err := store.Recorded(&r)
	if err == nil {
		err = p.ops.register(h)
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &Prepared{start, p.store, p.view.at().Epoch, &run{peer: p, ctx: opCtx, handle: h, op: op}}, nil
}

// Check returns a *HeldError if an ongoing action holds one of the keys now, or waits for it. What
// transactions have recorded is adopted before.
func (d *Prepared) Check(ctx context.Context) error {
	p := d.run.peer
	return p.explain(p.commits.commit(ctx, submissionOf(rules.Change{Kind: rules.KindNudge, Wants: d.Keys})))
}

// Discard forgets a start that was not recorded.
func (d *Prepared) Discard() {
	d.run.handle.cancel(nil)
	close(d.run.handle.ended)
	d.run.peer.ops.unregister(d.run.handle)
}

// Await waits in the background for the transaction to be committed and the start adopted, and
// then runs the operation. Every now and then it asks undone whether the start is not there and
// never will be.
func (d *Prepared) Await(undone func(context.Context) (bool, error)) {
	d.run.undone = undone
	go func() { _ = d.run.run() }() // what there is to say is in the action
}

// errUndone ends the wait for a start whose transaction was rolled back.
var errUndone = errors.New("the transaction that was to start it was rolled back")

// lookAtTransaction is how often it is asked what became of a transaction that is awaited.
const lookAtTransaction = time.Second

// gone asks whether the transaction that was to record the start was rolled back.
func (r *run) gone() bool {
	ctx, cancel := context.WithTimeout(r.ctx, r.peer.opts.StoreTimeout)
	defer cancel()
	gone, err := r.undone(ctx)
	if err != nil && r.ctx.Err() == nil {
		r.peer.log.Warn("it can't be told yet whether a start was committed", "action", r.handle.id, "error", err)
	}
	return err == nil && gone
}
