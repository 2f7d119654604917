package peer

import (
	"context"
	"errors"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
)

// A planned stop of a resumable operation is no failure: its runner gives the action up, and another one continues it.
// Another one also continues what a runner has stopped because it could not renew its lease in time, but that counts as a
// death.

// handsOver reports whether the action is left to another runner rather than failed: the operation could not do its
// work because this process stops, or because it could not renew its lease in time.
func (r *run) handsOver() bool {
	cause := context.Cause(r.ctx)
	return r.defined.resumable() && (errors.Is(cause, kapi.ErrStopped) || errors.Is(cause, kapi.ErrLost))
}

// handOver leaves the action to another runner. It tries again while the store is not available. It is not done if the
// action can't be left to others, because it was cancelled for example.
func (r *run) handOver() (done bool, _ error) {
	p, h := r.peer, r.handle
	h.calm()                                                      // the next runner has not met these issues
	if last, err := h.submit(rules.Report{}, false); err == nil { // what it has reported last
		_ = p.commits.wait(p.ctx, last) // what follows has the same fate
	}
	why := context.Cause(r.ctx)
	for pauses := storePauses(); ; {
		c := submissionOf(rules.Change{Kind: rules.KindVacate, ID: h.id, Fence: h.fence, Late: r.defined.late.Load() && errors.Is(why, kapi.ErrLost)})
		err := p.commits.commit(p.ctx, c)
		switch {
		case err == nil && c.Record.Status == kapi.StatusFailed:
			h.seal()
			p.log.Warn("action failed because of its runner", "action", h.id, "title", h.action.Title, "why", c.Record.State)
			return true, nil
		case err == nil:
			h.seal()
			p.log.Info("action handed over", "action", h.id, "title", h.action.Title, "why", why)
			return true, nil
		case errors.Is(err, kapi.ErrStaleFence), errors.Is(err, kapi.ErrUnknown), errors.Is(err, kapi.ErrClosed):
			h.seal()
			return true, err
		case !errors.Is(err, kapi.ErrUnavailable):
			return false, nil
		}
		p.log.Warn("an action can't be handed over yet", "action", h.id, "error", err)
		select {
		case <-time.After(pauses.Next()):
		case <-p.ctx.Done():
			h.seal()
			return true, err // its runner is found dead once this process has ended
		}
	}
}
