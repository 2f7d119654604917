package rules

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A start that its sender may repeat is answered once, and the same again.

// answered looks for the answer that a start got before; done is false if there is none.
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

// keepAnswer keeps what a start is answered.
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

// Started is what the start of an action for a runner elsewhere is answered.
func Started(o *Outcome, lease time.Duration) kapi.Remote {
	r := Remote(&o.Record, lease)
	r.Dismissed = o.Dismissed
	return r
}

// Remote is what each of its reports is answered.
func Remote(r *store.Record, lease time.Duration) kapi.Remote {
	return kapi.Remote{Action: r.Shown(), Fence: r.Fence, LeaseMS: lease.Milliseconds()}
}
