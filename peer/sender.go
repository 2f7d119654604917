package peer

import (
	"context"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
)

// A Sender gives access to the actions that one sender has started through a server (RemoteSpec.Sender). All
// other actions are unknown to it. Its methods may be called concurrently. A Sender with an empty id has no
// actions.
type Sender struct {
	peer *Peer
	id   string
}

// Sender returns the Sender with this id.
func (p *Peer) Sender(id string) Sender { return Sender{p, id} }

// ListJSON is Peer.ListJSON for the sender's own actions.
func (s Sender) ListJSON(ctx context.Context) (Listing, error) {
	if err := s.peer.upToDate(ctx); err != nil {
		return Listing{}, err
	}
	if s.id == "" {
		return *listingOf(nil, s.peer.view.at()), nil
	}
	return s.peer.view.list(s.id), nil
}

// Get is Peer.Get for the sender's own actions.
func (s Sender) Get(ctx context.Context, id string) (kapi.Action, error) {
	if err := s.peer.upToDate(ctx); err != nil {
		return kapi.Action{}, err
	}
	r, ok := s.peer.view.Get(id)
	if !ok || !s.started(r.Sender) {
		return kapi.Action{}, kapi.ErrUnknown
	}
	a := r.Shown()
	return a, s.peer.refreshHeard(&a)
}

// Report is Peer.Report for the sender's own actions.
func (s Sender) Report(ctx context.Context, id string, r kapi.Report) (kapi.Remote, error) {
	if s.id == "" {
		return kapi.Remote{}, kapi.ErrUnknown
	}
	return s.peer.report(ctx, rules.Change{ID: id, Sender: s.id}, r)
}

// Cancel is Peer.Cancel for the sender's own actions.
func (s Sender) Cancel(ctx context.Context, id, by string) (kapi.Action, error) {
	if s.id == "" {
		return kapi.Action{}, kapi.ErrUnknown
	}
	return s.peer.cancelBy(ctx, rules.Change{ID: id, Sender: s.id, By: by})
}

// GiveUp is Peer.GiveUp for the sender's own actions.
func (s Sender) GiveUp(ctx context.Context, id, by string) (kapi.Action, error) {
	if s.id == "" {
		return kapi.Action{}, kapi.ErrUnknown
	}
	return s.peer.giveUp(ctx, rules.Change{ID: id, Sender: s.id, By: by})
}

func (s Sender) started(sender string) bool { return s.id != "" && s.id == sender }
