package peer

import (
	"context"
	"errors"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Starts that are recorded by a transaction of the embedding program (postgres.StartTx). Such a
// transaction may stay open for a long time, so it takes neither a seq nor the store's write lock: it
// claims the keys and records the start. Once it is committed, the next write transaction of any peer
// adopts the start: it gives it a seq. From then on the action is like one that has waited for its
// keys: it is pending and has its keys, and its runner learns of it from the feed and begins. A start of an
// operation for another peer is the same, except that its runner is yet to be found.

// A Prepared start is ready to be recorded by a transaction. Either Await or Discard must be called,
// once.
type Prepared struct {
	store.RecordedStart
	// Store is the peer's store, and Epoch its current epoch.
	Store Store
	Epoch string

	run *run
}

// Prepare prepares a start that a transaction of the embedding program will record. Embedding programs
// call the store's function instead (postgres.StartTx). The errors are those of Start except *HeldError.
// Spec.Wait and Spec.DismissFailed are refused with an *InvalidError.
func (p *Peer) Prepare(ctx context.Context, spec kapi.Spec, op kapi.Operation) (*Prepared, error) {
	spec, err := spec.Validate()
	if err != nil {
		return nil, err
	}
	switch {
	case spec.Wait != 0:
		return nil, &kapi.InvalidError{Field: "wait", Reason: "is not possible in a transaction: a start that is not committed can't queue"}
	case spec.DismissFailed:
		return nil, &kapi.InvalidError{Field: "dismiss failed", Reason: "is not possible in a transaction: dismiss the failed action before it begins"}
	}
	if err := p.Follow(ctx); err != nil { // the feed has the starts to adopt
		return nil, err
	}
	// A peer that adopts the start needs the record of its runner to judge it.
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

// Check is for the store's function that records the start (postgres.StartTx), before it does so. It
// returns a *HeldError if an ongoing action holds one of the keys or waits for it. It first adopts the
// starts that transactions have recorded. Other errors wrap ErrUnavailable, or a *store.BusyError.
func (d *Prepared) Check(ctx context.Context) error {
	p := d.run.peer
	return p.explain(p.commits.commit(ctx, submissionOf(rules.Change{Kind: rules.KindNudge, Wants: d.Keys})))
}

// Discard drops a start that was not recorded.
func (d *Prepared) Discard() {
	d.run.handle.cancel(nil)
	close(d.run.handle.ended)
	d.run.peer.ops.unregister(d.run.handle)
}

// Await returns at once. In the background it waits until the transaction is committed and the start
// adopted, and then runs the operation. Once a second it calls undone, which reports whether the start
// was rolled back.
func (d *Prepared) Await(undone func(context.Context) (bool, error)) {
	d.run.undone = undone
	go func() { _ = d.run.run() }() // an error is also in the action or the log
}

// errUndone is returned when the transaction that was to record a start was rolled back.
var errUndone = errors.New("the transaction that was to start it was rolled back")

// lookAtTransaction is the pause between two checks whether the transaction was rolled back.
const lookAtTransaction = time.Second

// gone reports whether the transaction that was to record the start was rolled back.
func (r *run) gone() bool {
	ctx, cancel := context.WithTimeout(r.ctx, r.peer.opts.StoreTimeout)
	defer cancel()
	gone, err := r.undone(ctx)
	if err != nil && r.ctx.Err() == nil {
		r.peer.log.Warn("it is not known yet whether a start was committed", "action", r.handle.id, "error", err)
	}
	return err == nil && gone
}
