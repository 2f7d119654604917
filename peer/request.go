package peer

import (
	"context"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
)

// What people ask for.

// Dismiss ends a failed action (3 to 4) and frees its keys; by names who did it, for the
// log. It returns the action as it ended. The error is ErrUnknown, ErrNotFailed, or
// wraps ErrUnavailable.
func (p *Peer) Dismiss(ctx context.Context, id, by string) (kapi.Action, error) {
	c := submissionOf(rules.Change{Kind: rules.KindDismiss, ID: id})
	if err := p.commits.commit(ctx, c); err != nil {
		return kapi.Action{}, err
	}
	a := c.Record.Shown()
	p.log.Info("action dismissed", "action", a.ID, "title", a.Title, "by", by, "why_it_failed", a.State)
	return a, nil
}

// Cancel asks the runner of an action to stop; the action fails when it has. by names who
// asked. Asking again changes nothing. The error is ErrUnknown, a *NotCancellableError, or
// wraps ErrUnavailable.
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

// GiveUp fails an impacted action at once, whose runner can't be asked to stop any more. It is not
// proven dead, so it keeps its keys. by names who gives it up. The error is as of
// Cancel.
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
