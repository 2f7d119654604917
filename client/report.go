package client

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/wire"
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

func (c *Client) report(ctx context.Context, id string, r kapi.Report) (wire.Reported, error) {
	if r.ResetProgress && r.Progress != nil { // the field is null, or a number
		first := kapi.Report{Fence: r.Fence, ResetProgress: true}
		if _, err := c.report(ctx, id, first); err != nil {
			return wire.Reported{}, err
		}
		r.ResetProgress = false
	}
	// net/http repeats a request that is safe to repeat if the connection that it had kept
	// turns out to be dead. This says so, and is not sent.
	header := http.Header{"X-Idempotency-Key": []string{}}
	data, err := ask[json.RawMessage](ctx, c, http.MethodPatch, actionPath(id), header, wire.NewReport(r))
	if err != nil {
		return wire.Reported{}, err
	}
	var answer wire.Reported
	if err := json.Unmarshal(data, &answer); err != nil { // a proxy's, say: the report may be repeated
		return wire.Reported{}, unavailable("server %s: the answer is no action: %w", c.base, err)
	}
	if answer.Fence == 0 {
		answer.Fence = r.Fence
	}
	return answer, nil
}
