package client

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/wire"
)

// Report reports on an action that this program started, and renews its lease. cancel is true if the
// action was asked to stop. The error may be kapi.ErrStaleFence (another runner has the action),
// kapi.ErrUnknown (it has ended), kapi.ErrGivenUp (only its end can still be reported), a
// *kapi.MoveError, or wrap kapi.ErrUnavailable (the report may be repeated).
//
// It isn't needed with Do, which reports itself.
func (c *Client) Report(ctx context.Context, id string, r kapi.Report) (a kapi.Action, cancel bool, err error) {
	t, err := c.report(ctx, id, r)
	return t.Action, t.Cancel, err
}

func (c *Client) report(ctx context.Context, id string, r kapi.Report) (wire.Reported, error) {
	if r.ResetProgress && r.Progress != nil { // the field can't be both null and a number
		first := kapi.Report{Fence: r.Fence, ResetProgress: true}
		if _, err := c.report(ctx, id, first); err != nil {
			return wire.Reported{}, err
		}
		r.ResetProgress = false
	}
	// With this header, which is not sent, net/http repeats the request if an idle connection turns out to
	// be dead.
	header := http.Header{"X-Idempotency-Key": []string{}}
	data, err := ask[json.RawMessage](ctx, c, http.MethodPatch, actionPath(id), header, wire.NewReport(r))
	if err != nil {
		return wire.Reported{}, err
	}
	var answer wire.Reported
	if err := json.Unmarshal(data, &answer); err != nil { // perhaps from a proxy: the report may be repeated
		return wire.Reported{}, unavailable("server %s: the answer is not an action: %w", c.base, err)
	}
	if answer.Fence == 0 {
		answer.Fence = r.Fence
	}
	return answer, nil
}
