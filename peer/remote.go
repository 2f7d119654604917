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

// Actions whose work is done by another program, which reports to a server (by package client, or package server's
// routes). Such a runner has a lease of its own, which its reports renew. Nothing is known about its process (its pid
// is 0), so it is never proven dead.

// A RemoteSpec says what to start for a runner in another program.
type RemoteSpec struct {
	// Spec is as for Start, but Wait only says whether to wait: the runner decides how long.
	kapi.Spec
	// Pending starts the action as pending instead of running.
	Pending bool
	// Sender is the id of the sender that starts it. See Peer.Sender.
	Sender string
	// IdempotencyKey makes repeated starts safe, if it is set: only the first start by the same Sender
	// with this key starts an action, and all get the same answer. Their Hash must be the same.
	IdempotencyKey string
	// Hash is a hash of all fields of the request.
	Hash []byte
}

// StartRemote starts an action for a runner in another program. The errors are those of Start, or
// ErrOtherRequest if the IdempotencyKey was used with another Hash.
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

// Report applies a report of a runner in another program, renews its lease, and returns the resulting
// action. A final report may be repeated. The runner of an action that waited for keys reports status 1
// to begin once it has them, or 3 to stop waiting, which ends the action. The error is an *InvalidError,
// ErrUnknown, ErrStaleFence, ErrWaiting, a *MoveError, ErrGivenUp, or wraps ErrUnavailable.
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

// checkExitCode refuses an exit code that no system has (on Windows it has 32 bits), and one without an end.
func checkExitCode(rep rules.Report) error {
	switch {
	case rep.ExitCode == nil:
		return nil
	case rep.Status != kapi.StatusFailed && rep.Status != kapi.StatusCompleted:
		return &kapi.InvalidError{Field: "exit_code", Reason: "is allowed only with status 3 or 5"}
	case *rep.ExitCode < 0 || int64(*rep.ExitCode) > math.MaxUint32:
		return &kapi.InvalidError{Field: "exit_code", Reason: fmt.Sprintf("must be 0 to %d, not %d", uint32(math.MaxUint32), *rep.ExitCode)}
	}
	return nil
}
