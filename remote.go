package kapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Actions whose work is done by another program, which reports on it over a server
// (kapi's REST routes). Such a runner has a lease of its own, which its reports renew; of
// its process nothing is known (its pid is 0), so it is never proven dead.

// A RemoteSpec says what to start for a runner elsewhere.
type RemoteSpec struct {
	// Spec is as for Start. How long to Wait is for the runner to decide.
	Spec
	// Host says where the work is done, for those who look.
	Host string
	// Pending lets the action be born pending instead of running.
	Pending bool
	// Request, if its Key is set, makes that starting it again answers the same; it must
	// be of the same Hash then.
	Request Request
	// Hash tells what was asked for, in all its fields.
	Hash []byte
}

// A Remote is an action as its runner elsewhere must know it.
type Remote struct {
	Action Action `json:"action"`
	// Fence goes with every report. It is a new one when an action has got the keys that it
	// waited for.
	Fence uint64 `json:"fence"`
	// LeaseMS is how many milliseconds may pass from one report to the next before the
	// action is shown as impacted.
	LeaseMS int64 `json:"lease_ms"`
}

// ErrOtherRequest: the Idempotency-Key was used for another request before.
var ErrOtherRequest = errors.New("the Idempotency-Key was used with another body")

// StartRemote starts an action for a runner elsewhere. The errors are those of Start, and
// ErrOtherRequest.
func (p *Peer) StartRemote(ctx context.Context, spec RemoteSpec) (Remote, error) {
	valid, err := spec.validate()
	if err != nil {
		return Remote{}, err
	}
	p.mu.Lock()
	closing := p.closing
	p.mu.Unlock()
	if closing {
		return Remote{}, ErrClosed
	}
	status := StatusRunning
	if spec.Pending {
		status = StatusPending
	}
	record := &Record{
		Action: Action{
			ID: newID(), Title: valid.Title, Description: valid.Description, Status: status, Keys: valid.Keys,
			Runner: &Runner{ID: newID(), Host: spec.Host},
		},
		ReleaseOnFailure: spec.ReleaseOnFailure,
	}
	c, err := p.commitStart(ctx, func() *change {
		c := &change{start: record, dismissFailed: spec.DismissFailed, wait: spec.Wait != 0, within: spec.Within}
		if spec.Request.Key != "" {
			c.kept = &Answer{Request: spec.Request, Hash: spec.Hash}
		}
		return c
	})
	if err != nil {
		return Remote{}, p.explain(err)
	}
	for _, a := range c.dismissed {
		p.logDismissed(a, c.record.ID)
	}
	if c.kept != nil {
		var again Remote
		if err := json.Unmarshal(c.kept.Body, &again); err != nil {
			return Remote{}, fmt.Errorf("read the answer that was given before: %w", err)
		}
		return again, nil
	}
	return p.remote(c.record), nil
}

func (p *Peer) remote(r Record) Remote {
	return Remote{r.Shown(), r.Fence, p.opts.Lease.Milliseconds()}
}

// answered looks for the answer that a start got before; done is false if there is none.
func (pl *plan) answered(c *change) (done bool, err error) {
	if c.kept == nil {
		return false, nil
	}
	for i := range pl.answers {
		if before := &pl.answers[i]; before.Request == c.kept.Request {
			if !bytes.Equal(before.Hash, c.kept.Hash) {
				return true, ErrOtherRequest
			}
			c.kept = before
			return true, nil
		}
	}
	return false, nil
}

// keepAnswer keeps what a start is answered.
func (pl *plan) keepAnswer(c *change) error {
	if c.kept == nil {
		return nil
	}
	body, err := json.Marshal(pl.remote(c.record))
	if err != nil {
		return err
	}
	c.kept.Action, c.kept.Body = c.record.ID, body
	pl.answers = append(pl.answers, *c.kept)
	pl.newAnswers = append(pl.newAnswers, *c.kept)
	return nil
}

// A Report is what the runner of an action says of it.
type Report struct {
	// Fence is the start's.
	Fence uint64
	// Status is a move to 1, 2, 3 or 5; nil is none.
	Status *Status
	// ResetProgress makes the progress unknown again.
	ResetProgress bool
	// Progress is 0 to 1; a lower one than before is ignored. Nil says nothing.
	Progress *float64
	// State is cut to 500 code points; "" clears it. Nil says nothing.
	State *string
}

// Report takes what a runner elsewhere says, renews its lease, and returns the action after
// it. A final report may be repeated. An action that waits for keys may begin (status 1) when it
// has them, and may give up (3), which disposes of it. The error is an *InvalidError, ErrUnknown,
// ErrStaleFence, ErrWaiting, a *MoveError, ErrGivenUp, or wraps ErrUnavailable.
func (p *Peer) Report(ctx context.Context, id string, r Report) (Remote, error) {
	rep := report{fence: r.Fence, resetProgress: r.ResetProgress, progress: r.Progress, state: r.State}
	switch {
	case r.Status == nil:
	case *r.Status == StatusRunning, *r.Status == StatusImpacted, *r.Status == StatusFailed, *r.Status == StatusCompleted:
		rep.status = *r.Status
	default:
		return Remote{}, &InvalidError{"status", fmt.Sprintf("must be 1, 2, 3 or 5, not %d", int(*r.Status))}
	}
	if r.Progress != nil && !(*r.Progress >= 0 && *r.Progress <= 1) {
		return Remote{}, &InvalidError{"progress", fmt.Sprintf("must be 0 to 1, not %v", *r.Progress)}
	}
	c := &change{id: id, heard: true, apply: func(r *Record, now int64) error { return r.report(rep, now) }}
	if err := p.commit(ctx, c); err != nil {
		return Remote{}, err
	}
	return p.remote(c.record), nil
}

// heard renews the lease of an action's runner elsewhere.
func (pl *plan) heard(r *Record) {
	if r.Runner == nil || r.Runner.PID != 0 || !r.Status.Active() {
		return // a runner that is a peer renews for itself
	}
	pl.renewed[r.Runner.ID] = RunnerRecord{ID: r.Runner.ID, Host: r.Runner.Host, Lease: pl.lease}
}
