package kapi

import (
	"context"
	"encoding/json"
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

// StartRemote starts an action for a runner elsewhere. The errors are those of Start, and
// ErrOtherRequest.
func (p *Peer) StartRemote(ctx context.Context, spec RemoteSpec) (Remote, error) {
	valid, err := spec.Validate()
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
	start := change{kind: kindStart, action: record, dismissFailed: spec.DismissFailed, wait: spec.Wait != 0, within: spec.Within}
	if spec.Request.Key != "" {
		start.asked = &Answer{Request: spec.Request, Hash: spec.Hash}
	}
	c, err := p.commitStart(ctx, start)
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
	return p.remote(&c.record), nil
}

func (p *Peer) remote(r *Record) Remote {
	return Remote{r.Shown(), r.Fence, p.opts.Lease.Milliseconds()}
}

func (p *Peer) encodeRemote(r *Record) ([]byte, error) { return json.Marshal(p.remote(r)) }

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
	c := submit(change{kind: kindReport, id: id, heard: true, report: rep})
	if err := p.commit(ctx, c); err != nil {
		return Remote{}, err
	}
	return p.remote(&c.record), nil
}
