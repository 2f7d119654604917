package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/kettubot/kapi"
)

// Report says how an action is doing that this program started, and renews its lease. cancel
// says that it was asked to stop. The error may be kapi.ErrStaleFence or kapi.ErrUnknown: the
// action is another's, or over; kapi.ErrGivenUp: only its end can still be reported; a
// *kapi.MoveError; or wrap kapi.ErrUnavailable: the report may be repeated.
//
// Do reports by itself.
func (c *Client) Report(ctx context.Context, id string, r kapi.Report) (a kapi.Action, cancel bool, err error) {
	t, err := c.report(ctx, id, r)
	return t.Action, t.Cancel, err
}

// A told is what a report was answered.
type told struct {
	kapi.Action
	Cancel bool
	// Fence is the action's.
	Fence uint64
}

func (c *Client) report(ctx context.Context, id string, r kapi.Report) (a told, err error) {
	if r.ResetProgress && r.Progress != nil { // the field is null, or a number
		first := kapi.Report{Fence: r.Fence, ResetProgress: true}
		if a, err = c.report(ctx, id, first); err != nil {
			return a, err
		}
		r.ResetProgress = false
	}
	body := map[string]any{"fence": r.Fence}
	if r.Status != nil {
		body["status"] = int(*r.Status)
	}
	if r.State != nil {
		body["state"] = *r.State
	}
	switch {
	case r.ResetProgress:
		body["progress"] = nil
	case r.Progress != nil:
		body["progress"] = *r.Progress
	}
	// net/http repeats a request that is safe to repeat if the connection that it had kept
	// turns out to be dead. This says so, and is not sent.
	header := http.Header{"X-Idempotency-Key": []string{}}
	var raw json.RawMessage
	if err := c.call(ctx, http.MethodPatch, actionPath(id), header, body, &raw); err != nil {
		return a, err
	}
	rest := struct {
		Cancel bool
		Fence  uint64
	}{Fence: r.Fence}
	if err := errors.Join(json.Unmarshal(raw, &a.Action), json.Unmarshal(raw, &rest)); err != nil {
		return a, unavailable("server %s: the answer is no action: %w", c.base, err)
	}
	a.Cancel, a.Fence = rest.Cancel, rest.Fence
	return a, nil
}
