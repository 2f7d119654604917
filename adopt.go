package kapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Starts that a transaction of the embedder's own records (postgres.StartTx). Such a transaction
// may stay open for long, so it takes neither a seq nor the store's write lock: it claims the
// keys, and records what is to be started. Once it is committed, the next write transaction of any
// peer adopts the start, which is to say gives it its seq. From then on the action is like one that
// has waited for its turn: it is pending and has its keys, and its runner, which the feed tells of
// it, begins.

// A RecordedStart is a start as a store keeps it until it is adopted.
type RecordedStart struct {
	// ID is that of the action.
	ID string
	// Keys are those that it holds already.
	Keys []string
	// Data is the rest, for this package alone to read.
	Data []byte
}

// recordedData is RecordedStart.Data.
type recordedData struct {
	Title            string `json:"title"`
	Description      string `json:"description"`
	ReleaseOnFailure bool   `json:"release_on_failure,omitempty"`
	LeaveRunning     bool   `json:"leave_running,omitempty"`
	Runner           Runner `json:"runner"`
}

// Record returns the action that the start is of, as a refusal names it: pending, without a seq.
func (s RecordedStart) Record() (Record, error) {
	var d recordedData
	if err := json.Unmarshal(s.Data, &d); err != nil {
		return Record{}, fmt.Errorf("start %s, which a transaction has recorded, can't be read: %w", s.ID, err)
	}
	return Record{
		Action: Action{
			ID: s.ID, Title: d.Title, Description: d.Description,
			Status: StatusPending, Keys: s.Keys, Runner: &d.Runner,
		},
		ReleaseOnFailure: d.ReleaseOnFailure, LeaveRunning: d.LeaveRunning,
	}, nil
}

// A Prepared start is ready to be recorded by a transaction. One of Await and Discard must be
// called, once.
type Prepared struct {
	RecordedStart
	// Store is the peer's, and Epoch that of the history in it.
	Store Store
	Epoch string

	run *run
}

// Prepare makes an operation ready whose start a store records in a transaction of its caller's
// own; embedders call the store's function for that. The errors are those of Start, but for
// *HeldError; Wait and DismissFailed are refused.
func (p *Peer) Prepare(ctx context.Context, spec Spec, op Operation) (*Prepared, error) {
	spec, err := spec.validate()
	if err != nil {
		return nil, err
	}
	switch {
	case spec.Wait != 0:
		return nil, &InvalidError{"wait", "is not possible in a transaction: nobody could be told whose turn it is"}
	case spec.DismissFailed:
		return nil, &InvalidError{"dismiss failed", "is not possible in a transaction: dismiss before it begins"}
	}
	// Whoever adopts the start, and meets silence afterwards, must know the runner.
	renewCtx, cancelRenew := context.WithTimeout(ctx, p.opts.StoreTimeout)
	defer cancelRenew()
	if err := p.store.Renew(renewCtx, p.self); err != nil {
		return nil, err
	}
	runner := Runner{ID: p.self.ID, Host: p.self.Host, PID: p.self.PID}
	data, err := json.Marshal(recordedData{spec.Title, spec.Description, spec.ReleaseOnFailure, spec.LeaveRunning, runner})
	if err != nil {
		return nil, fmt.Errorf("encode a start: %w", err)
	}
	opCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	h := newHandle(p, newID(), cancel)
	if err := p.register(h); err != nil {
		cancel(nil)
		return nil, err
	}
	start := RecordedStart{ID: h.id, Keys: spec.Keys, Data: data}
	r, err := start.Record()
	if err != nil {
		return nil, err
	}
	h.action = r.Action
	return &Prepared{start, p.store, p.view.at().Epoch, &run{peer: p, ctx: opCtx, handle: h, op: op}}, nil
}

// Check returns a *HeldError if an ongoing action holds one of the keys now, or waits for it. What
// transactions have recorded is adopted before.
func (d *Prepared) Check(ctx context.Context) error {
	p := d.run.peer
	return p.explain(p.commit(ctx, submit(change{kind: kindNudge, wants: d.Keys})))
}

// Discard forgets a start that was not recorded.
func (d *Prepared) Discard() {
	d.run.handle.cancel(nil)
	close(d.run.handle.ended)
	d.run.peer.unregister(d.run.handle)
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

// nudge has the committer adopt what transactions have recorded, and give keys to those who wait
// for them, as every write transaction does.
func (p *Peer) nudge() {
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.StoreTimeout)
	defer cancel()
	if err := p.commit(ctx, submit(change{kind: kindNudge})); err != nil && p.ctx.Err() == nil {
		p.log.Warn("what was recorded in transactions, or waits for one, can't be seen to yet", "error", err)
	}
}

// An adopter decides when this peer is to adopt starts that the feed tells of: its own at once,
// those of others if nobody has done it for a while, so that not all peers do it at once.
type adopter struct {
	mu    sync.Mutex
	since map[string]time.Time // when each was first seen
	busy  bool
	again bool // it was time to while it was busy
}

// adoptOthersAfter is how long the starts of others are left to them.
const adoptOthersAfter = time.Second / 2

// look is told which starts are not adopted yet, and says whether it is time to.
func (a *adopter) look(ids []string, own func(id string) bool, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(ids) == 0 {
		a.since = nil
		return false
	}
	since := make(map[string]time.Time, len(ids))
	due := false
	for _, id := range ids {
		first, ok := a.since[id]
		if !ok {
			first = now
		}
		since[id] = first
		due = due || now.Sub(first) >= adoptOthersAfter || own(id)
	}
	a.since = since
	if a.busy {
		a.again = a.again || due
		return false
	}
	a.busy = due
	return due
}

// done says that they were adopted, all that were there when it began; and whether there may be
// more by now.
func (a *adopter) done() (again bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	again, a.again = a.again, false
	a.busy = again
	return again
}

// adoptDue adopts starts in the background when it is time to.
func (p *Peer) adoptDue(ids []string) {
	own := func(id string) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.running[id] != nil
	}
	if !p.adopter.look(ids, own, time.Now()) {
		return
	}
	p.faults.Go(&p.served, func() {
		for again := true; again && p.ctx.Err() == nil; again = p.adopter.done() {
			p.nudge()
		}
	})
}

// A BusyError is what a store answers when a transaction that is still open claims keys, so that
// nobody can say yet whether they are held. Nothing was kept. It wraps ErrUnavailable.
type BusyError struct{ Keys []string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("%v: key %q is claimed by a transaction that has not ended", ErrUnavailable, e.Keys[0])
}

func (e *BusyError) Unwrap() error { return ErrUnavailable }

// busyPause is between two tries to start while a transaction claims the key.
const busyPause = 50 * time.Millisecond

// commitStart commits a start. While a transaction that is open claims one of its keys, it is
// tried again; once, too, if the holder of a key turns out to be dead or given up.
func (p *Peer) commitStart(ctx context.Context, start change) (*submission, error) {
	patience := time.NewTimer(p.opts.StoreTimeout)
	defer patience.Stop()
	judged := false
	for {
		start.unjudged = !judged
		c := submit(start)
		err := p.commit(ctx, c)
		var held *HeldError
		if !judged && errors.As(err, &held) {
			if judged = true; p.judgeNow(ctx, held) {
				continue
			}
			p.counters.refused(held.Key)
		}
		var busy *BusyError
		if !errors.As(err, &busy) {
			return c, err
		}
		select {
		case <-time.After(busyPause):
		case <-patience.C:
			return c, err
		case <-ctx.Done():
			return c, context.Cause(ctx)
		case <-p.ctx.Done():
			return c, ErrClosed
		}
	}
}
