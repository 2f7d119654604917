package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Starts at a peer that doesn't offer the operation. They are recorded, and claimed by a peer that does (claim.go).

// startElsewhere records the start of an operation for a peer that offers it, and waits until one has begun it.
func (p *Peer) startElsewhere(ctx context.Context, name string, arguments json.RawMessage, o kapi.StartOptions) (kapi.Started, error) {
	offer, err := p.offers.find(ctx, name)
	switch {
	case err != nil:
		return kapi.Started{}, err
	case o.Preview:
		return kapi.Started{}, &kapi.InvalidError{Field: "preview", Reason: "is answered only by a peer that offers the operation"}
	}
	asked := askedOf(name, arguments, &o)
	if o.Continue != "" {
		if before, err := p.mayContinue(ctx, name, &o, asked); before != nil || err != nil {
			return p.startedBefore(ctx, before, err)
		}
	}
	record := p.definedRecord(newID(), offer, o)
	record.Defined.Unclaimed, record.Defined.Continues = true, o.Continue
	start := rules.Change{Kind: rules.KindStart, Action: record, Asked: asked}
	if o.Continue == "" {
		start.Saved = savedAs(record.ID, arguments)
	}
	news := p.newsSince(0) // from before the start, so that nothing is missed
	defer news.close()
	c, err := p.commitStart(ctx, start)
	switch {
	case err != nil:
		return kapi.Started{}, err
	case c.Record.ID != record.ID:
		return p.startedBefore(ctx, c.Kept, nil)
	}
	news.since = c.Record.Seq
	return p.awaitTaken(ctx, &c.Record, news)
}

// awaitTaken waits until another peer has begun the action of a start, put it into the queue, or refused it. After
// StoreTimeout it returns the action as it is.
func (p *Peer) awaitTaken(ctx context.Context, r *store.Record, n *news) (kapi.Started, error) {
	defer n.close()
	limited, cancel := context.WithTimeout(ctx, p.opts.StoreTimeout)
	defer cancel()
	for {
		switch {
		case !r.Status.Active() && r.Defined != nil && r.Defined.Refusal != nil:
			return kapi.Started{}, rules.RefusalError(r.Operation, r.Defined.Refusal)
		case !r.Status.Active() && r.StartedAt == 0 && r.CancelRequestedAt != 0:
			return kapi.Started{}, &kapi.CancelledError{By: r.CancelledBy}
		case !r.Status.Active() && r.StartedAt == 0:
			return kapi.Started{}, fmt.Errorf("%w: it was not begun: %s", kapi.ErrUnavailable, r.State)
		case r.Status != kapi.StatusPending, r.Waiting() && !r.Defined.Unclaimed:
			return kapi.Started{Action: r.Shown()}, nil
		}
		next, err := n.next(limited, r.ID)
		switch {
		case err == nil:
			r = next
		case ctx.Err() != nil:
			return kapi.Started{}, context.Cause(ctx)
		case p.ctx.Err() != nil:
			return kapi.Started{}, kapi.ErrClosed
		default: // it took too long, or the store can't be read
			return kapi.Started{Action: r.Shown()}, nil
		}
	}
}

// A news tells of the changes of actions of other peers. A peer that follows them watches its view; a light one reads
// the feed.
type news struct {
	peer  *Peer
	watch *Watch // nil in a light peer
	since uint64
}

// newsSince returns the news after a seq. A peer that follows the others gets those from now on.
func (p *Peer) newsSince(seq uint64) *news {
	n := &news{peer: p, since: seq}
	if !p.follow.follows.Load() {
		return n
	}
	w := newWatch(p.view)
	p.view.mu.Lock()
	defer p.view.mu.Unlock()
	if w.begin(p.ctx) == nil {
		n.watch = w
	}
	return n
}

func (n *news) close() {
	if n.watch != nil {
		n.watch.Close()
	}
}

// next returns the record of an action after its next change.
func (n *news) next(ctx context.Context, id string) (*store.Record, error) {
	for n.watch != nil {
		e, err := n.watch.next(ctx)
		switch {
		case errors.Is(err, kapi.ErrGap):
			n.watch = nil // the feed may still have it
		case err != nil:
			return nil, err
		case e.ID == id && e.Seq > n.since:
			n.since = e.Seq
			return &e.Record, nil
		}
	}
	return n.read(ctx, id)
}

// read reads the feed until it has a change of the action.
func (n *news) read(ctx context.Context, id string) (*store.Record, error) {
	for began := time.Now(); ; {
		page, err := n.peer.store.Feed(ctx, n.since)
		if err == nil {
			err = tidyPage(&page)
		}
		if err != nil && !errors.Is(err, kapi.ErrUnavailable) || ctx.Err() != nil {
			return nil, errors.Join(err, context.Cause(ctx))
		}
		if err == nil {
			n.since = max(n.since, page.Seq)
		}
		for i := range page.Records {
			if page.Records[i].ID == id {
				return &page.Records[i], nil
			}
		}
		select {
		case <-time.After(min(max(time.Since(began)/peekShare, peekMin), peekMax)):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
