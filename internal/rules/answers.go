package rules

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A start with an Idempotency-Key is done once; when it is repeated, it gets the same answer.

// answered looks for the answer to an earlier request with the same name. done is false if there is none.
func (pl *Plan) answered(c *Change, o *Outcome) (done bool, err error) {
	if c.Asked == nil {
		return false, nil
	}
	for i := range pl.answers {
		if before := &pl.answers[i]; before.Request == c.Asked.Request {
			if !bytes.Equal(before.Hash, c.Asked.Hash) {
				return true, kapi.ErrOtherRequest
			}
			o.Kept = before
			return true, nil
		}
	}
	return false, nil
}

// keepAnswer records the answer to a start that may be repeated.
func (pl *Plan) keepAnswer(c *Change, o *Outcome) error {
	if c.Asked == nil {
		return nil
	}
	body, err := json.Marshal(Started(o, pl.limits.Lease))
	if err != nil {
		return err
	}
	kept := *c.Asked
	kept.Action, kept.Body = o.Record.ID, body
	o.Kept = &kept
	pl.answers = append(pl.answers, kept)
	pl.newAnswers = append(pl.newAnswers, kept)
	return nil
}

// Started returns the answer to a start whose runner is elsewhere.
func Started(o *Outcome, lease time.Duration) kapi.Remote {
	r := Remote(&o.Record, lease)
	r.Dismissed = o.Dismissed
	return r
}

// Remote returns the answer to a report of a runner elsewhere.
func Remote(r *store.Record, lease time.Duration) kapi.Remote {
	return kapi.Remote{Action: r.Shown(), Fence: r.Fence, LeaseMS: lease.Milliseconds()}
}
