package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Actions whose work is done by another program, which reports on it over a server
// (package server's routes, or package client). Such a runner has a lease of its own, which its reports renew; of
// its process nothing is known (its pid is 0), so it is never proven dead.

// A RemoteSpec says what to start for a runner elsewhere.
type RemoteSpec struct {
	// Spec is as for Start. How long to Wait is for the runner to decide.
	kapi.Spec
	// Pending lets the action be born pending instead of running.
	Pending bool
	// Sender is the id of who starts it: only they may do what is asked for a Sender.
	Sender string
	// IdempotencyKey, if it is set, makes that the same Sender's starting it again is answered the
	// same; it must be of the same Hash then.
	IdempotencyKey string
	// Hash tells what was asked for, in all its fields.
	Hash []byte
}

// StartRemote starts an action for a runner elsewhere. The errors are those of Start, and
// ErrOtherRequest.
func (p *Peer) StartRemote(ctx context.Context, spec RemoteSpec) (kapi.Remote, error) {
	valid, err := spec.Validate()
	if err != nil {
		return kapi.Remote{}, err
	}
	if p.ops.isClosing() {
		return kapi.Remote{}, kapi.ErrClosed
	}
	status := kapi.StatusRunning
	if spec.Pending {
		status = kapi.StatusPending
	}
	record := &store.Record{
		Action: kapi.Action{
			ID: newID(), Title: valid.Title, Description: valid.Description, Status: status, Keys: valid.Keys,
			Runner: &kapi.Runner{ID: newID(), Host: valid.Host},
		},
		ReleaseOnFailure: spec.ReleaseOnFailure, Sender: spec.Sender,
	}
	start := rules.Change{Kind: rules.KindStart, Action: record, DismissFailed: spec.DismissFailed, Wait: spec.Wait != 0, Within: spec.Within}
	if spec.IdempotencyKey != "" {
		start.Asked = &store.Answer{Request: store.Request{By: spec.Sender, Key: spec.IdempotencyKey}, Hash: spec.Hash}
	}
	c, err := p.commitStart(ctx, start)
	if err != nil {
		return kapi.Remote{}, p.explain(err)
	}
	for _, a := range c.Dismissed {
		p.commits.logDismissed(a, c.Record.ID)
	}
	if c.Kept != nil {
		var again kapi.Remote
		if err := json.Unmarshal(c.Kept.Body, &again); err != nil {
			return kapi.Remote{}, fmt.Errorf("read the answer that was given before: %w", err)
		}
		return again, nil
	}
	return rules.Started(&c.Outcome, p.opts.Lease), nil
}

// Report takes what a runner elsewhere says, renews its lease, and returns the action after
// it. A final report may be repeated. An action that waits for keys may begin (status 1) when it
// has them, and may give up (3), which disposes of it. The error is an *InvalidError, ErrUnknown,
// ErrStaleFence, ErrWaiting, a *MoveError, ErrGivenUp, or wraps ErrUnavailable.
func (p *Peer) Report(ctx context.Context, id string, r kapi.Report) (kapi.Remote, error) {
	return p.report(ctx, rules.Change{ID: id}, r)
}

func (p *Peer) report(ctx context.Context, about rules.Change, r kapi.Report) (kapi.Remote, error) {
	rep := rules.Report{Fence: r.Fence, ResetProgress: r.ResetProgress, Progress: r.Progress, State: r.State, ExitCode: r.ExitCode}
	switch {
	case r.Status == nil:
	case *r.Status == kapi.StatusRunning, *r.Status == kapi.StatusImpacted, *r.Status == kapi.StatusFailed, *r.Status == kapi.StatusCompleted:
		rep.Status = *r.Status
	default:
		return kapi.Remote{}, &kapi.InvalidError{Field: "status", Reason: fmt.Sprintf("must be 1, 2, 3 or 5, not %d", int(*r.Status))}
	}
	if r.Progress != nil && !(*r.Progress >= 0 && *r.Progress <= 1) {
		return kapi.Remote{}, &kapi.InvalidError{Field: "progress", Reason: fmt.Sprintf("must be 0 to 1, not %v", *r.Progress)}
	}
	if err := checkExitCode(rep); err != nil {
		return kapi.Remote{}, err
	}
	about.Kind, about.Heard, about.Report = rules.KindReport, true, rep
	c := submissionOf(about)
	if err := p.commits.commit(ctx, c); err != nil {
		return kapi.Remote{}, err
	}
	return rules.Remote(&c.Record, p.opts.Lease), nil
}

// checkExitCode refuses what no system has as an exit code (Windows has 32 bits), and one of work that goes on.
func checkExitCode(rep rules.Report) error {
	switch {
	case rep.ExitCode == nil:
		return nil
	case rep.Status != kapi.StatusFailed && rep.Status != kapi.StatusCompleted:
		return &kapi.InvalidError{Field: "exit_code", Reason: "goes with the end alone: with status 3 or 5"}
	case *rep.ExitCode < 0 || int64(*rep.ExitCode) > math.MaxUint32:
		return &kapi.InvalidError{Field: "exit_code", Reason: fmt.Sprintf("must be 0 to %d, not %d", uint32(math.MaxUint32), *rep.ExitCode)}
	}
	return nil
}
