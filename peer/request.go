package peer

import (
	"context"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
)

// What people ask for: to dismiss, cancel or give up an action.

// Dismiss ends a failed action (from status 3 to 4) and frees its keys. by names the caller, for
// the log. It returns the ended action. The error is ErrUnknown, ErrNotFailed, or wraps
// ErrUnavailable.
func (p *Peer) Dismiss(ctx context.Context, id, by string) (kapi.Action, error) {
	c := submissionOf(rules.Change{Kind: rules.KindDismiss, ID: id})
	if err := p.commits.commit(ctx, c); err != nil {
		return kapi.Action{}, err
	}
	a := c.Record.Shown()
	p.log.Info("action dismissed", "action", a.ID, "title", a.Title, "by", by, "why_it_failed", a.State)
	return a, nil
}

// Cancel asks the runner of an action to stop. When the runner has stopped, the action fails. by
// names the caller. Asking again changes nothing. The error is ErrUnknown, a *NotCancellableError,
// or wraps ErrUnavailable.
func (p *Peer) Cancel(ctx context.Context, id, by string) (kapi.Action, error) {
	return p.cancelBy(ctx, rules.Change{ID: id, By: by})
}

func (p *Peer) cancelBy(ctx context.Context, about rules.Change) (kapi.Action, error) {
	about.Kind = rules.KindCancel
	c := submissionOf(about)
	if err := p.commits.commit(ctx, c); err != nil {
		return kapi.Action{}, err
	}
	a := c.Record.Shown()
	p.log.Info("action asked to stop", "action", a.ID, "title", a.Title, "by", about.By)
	return a, nil
}

// GiveUp fails an impacted action at once, because its runner can no longer be asked to stop. The
// runner is not proven dead, so the action keeps its keys. by names the caller. The errors are those
// of Cancel.
func (p *Peer) GiveUp(ctx context.Context, id, by string) (kapi.Action, error) {
	return p.giveUp(ctx, rules.Change{ID: id, By: by})
}

func (p *Peer) giveUp(ctx context.Context, about rules.Change) (kapi.Action, error) {
	about.Kind = rules.KindGiveUp
	c := submissionOf(about)
	if err := p.commits.commit(ctx, c); err != nil {
		return kapi.Action{}, err
	}
	a := c.Record.Shown()
	p.log.Warn("action given up", "action", a.ID, "title", a.Title, "by", about.By)
	return a, nil
}

// Offers returns all operations that live peers of the store offer, or did in the last 30 days, in alphabetical order.
// The error wraps ErrUnavailable, or is ErrClosed.
func (p *Peer) Offers(ctx context.Context) ([]kapi.Offer, error) { return p.offers.all(ctx) }

// Pause asks an operation that was started by its name to pause. It does so at its next Proceed, and is impacted then.
// by names the caller. Asking again changes nothing. It returns the action as of then. The error is ErrUnknown, a
// *NotPausableError, ErrClosed, or wraps ErrUnavailable.
func (p *Peer) Pause(ctx context.Context, id, by string) (kapi.Action, error) {
	return p.pause(ctx, rules.Change{Kind: rules.KindPause, ID: id, By: by}, "action asked to pause")
}

// Unpause ends a pause. by names the caller, for the log. It changes nothing if nobody has asked for a pause. The errors
// are those of Pause.
func (p *Peer) Unpause(ctx context.Context, id, by string) (kapi.Action, error) {
	return p.pause(ctx, rules.Change{Kind: rules.KindContinue, ID: id, By: by}, "pause of an action ended")
}

func (p *Peer) pause(ctx context.Context, change rules.Change, event string) (kapi.Action, error) {
	c := submissionOf(change)
	if err := p.commits.commit(ctx, c); err != nil {
		return kapi.Action{}, err
	}
	a := c.Record.Shown()
	if c.Changed {
		p.log.Info(event, "action", a.ID, "title", a.Title, "by", change.By)
	}
	return a, nil
}
