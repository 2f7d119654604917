package peer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// A claimer takes on actions that have no runner, and that this peer can run: recorded starts, and actions whose runner
// has died or handed them over. All peers that offer an operation see them at the same time. The store lets one of them
// have each.
type claimer struct {
	store   store.Store
	view    *view
	ops     *operations
	offers  *offerer
	commits *committer
	log     *slog.Logger
	ctx     context.Context // ends with the peer
	timeout time.Duration   // of a read
	self    *store.RunnerRecord
	follow  func(context.Context) error // Peer.Follow
	sync    func(context.Context) error // brings the view up to date
	judge   func(context.Context, *kapi.HeldError) bool
	newRun  func(ctx context.Context, d *kapi.Definition, arguments json.RawMessage, id string) (*run, error)

	epoch   string        // the history in which the offers were published
	failing atomic.Bool   // the last attempt failed because of the store
	wakes   chan struct{} // holds one

	mu sync.Mutex
	// open has the actions to claim. unreadable has those of them whose checkpoints this peer can't read, and since when.
	open       map[string]struct{}
	unreadable map[string]time.Time
	rounds     rounds
}

func (c *claimer) init() {
	c.wakes = make(chan struct{}, 1)
	c.wakes <- struct{}{} // look at once
	c.rounds.init()
	c.open = map[string]struct{}{}
	c.unreadable = map[string]time.Time{}
}

// notice is called with each change, with the view locked.
func (c *claimer) notice(r *store.Record) {
	if r.Defined == nil || c.offers.own[r.Operation] == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !r.Status.Ongoing() || !r.Claimable() {
		delete(c.open, r.ID)
		delete(c.unreadable, r.ID)
		return
	}
	c.open[r.ID] = struct{}{}
	select {
	case c.wakes <- struct{}{}:
	default:
	}
}

// forget drops an action that was lost with the store's history, of which notice isn't told.
func (c *claimer) forget(id string) {
	c.mu.Lock()
	delete(c.open, id)
	delete(c.unreadable, id)
	c.mu.Unlock()
	if r, ok := c.view.Get(id); ok { // it has come back meanwhile
		c.notice(&r)
	}
}

// loop publishes the offers, and claims actions, until the peer's context ends.
func (c *claimer) loop() {
	tick := time.NewTicker(pollEvery) // tries again what has failed
	defer tick.Stop()
	defer c.rounds.wait()
	for published := time.Now(); ; {
		select {
		case <-c.wakes:
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
		if c.ops.isClosing() {
			return
		}
		if err := c.follow(c.ctx); err != nil {
			c.unable("see what there is to claim", err)
			continue
		}
		if epoch := c.view.at().Epoch; epoch != c.epoch || time.Since(published) >= offerEvery {
			if err := c.offers.publish(c.ctx); err != nil {
				c.unable("publish what it offers", err)
				continue
			}
			c.epoch, published = epoch, time.Now()
		}
		c.rounds.begin(c.opened(), c.try)
	}
}

// unable logs, once for an outage, what this peer can't do.
func (c *claimer) unable(to string, err error) {
	if c.ctx.Err() == nil && !c.failing.Swap(true) {
		c.log.Warn("this peer can't "+to+" yet", "error", err)
	}
}

// try tries to claim an action in a round, unless the peer is closed.
func (c *claimer) try(id string) {
	if c.ops.isClosing() || c.ctx.Err() != nil {
		return
	}
	switch err := c.claim(id); {
	case errors.Is(err, kapi.ErrUnavailable):
		c.unable("claim an action", err)
	default:
		c.failing.Store(false)
	}
}

func (c *claimer) opened() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.open))
}

// staggerMost is the longest pause before a claim.
const staggerMost = 20 * time.Millisecond

// stagger waits a moment, for longer the more this peer runs already. So the least busy peer mostly gets the action, and
// the others see in their views that it has.
func (c *claimer) stagger() {
	busy := time.Duration(len(c.ops.all())) * time.Millisecond
	select {
	case <-time.After(min(busy+rand.N(2*time.Millisecond), staggerMost)):
	case <-c.ctx.Done():
	}
}

// claim tries to claim an action. An error that is not ErrUnavailable is final.
func (c *claimer) claim(id string) error {
	c.stagger()
	if err := c.sync(c.ctx); err != nil { // a read is cheap; a transaction to learn that it is gone isn't
		return err
	}
	r, ok := c.view.Get(id)
	switch {
	case !ok:
		c.forget(id)
		return nil
	case !r.Claimable() || c.ops.has(id): // a run that has lost it ends first
		return nil
	}
	d := c.offers.own[r.Operation]
	switch {
	case r.Defined.Vacant && d.Resume == nil: // this peer would not stop it in time for others to take it over
		return c.refuse(&r, d, errNotResumable)
	case r.Defined.Vacant && !rules.Readable(r.Defined, d.Reads, d.Version):
		return c.tell(&r, d)
	}
	from, heir := id, (*kapi.Definition)(nil)
	if r.Defined.Continues != "" { // it has taken over nothing yet
		from, heir = r.Defined.Continues, d
		if _, ok := c.view.Get(from); !ok {
			return c.take(&r, d, nil, nil) // which is refused
		}
	}
	arguments, err := savedArguments(c.ctx, c.store, c.timeout, from, heir)
	var unfit *kapi.InvalidError
	if err != nil && !errors.As(err, &unfit) {
		return err
	}
	var keys []string
	if err == nil {
		arguments, keys, err = checkArguments(c.log, d, arguments)
	}
	if err != nil {
		return c.refuse(&r, d, err)
	}
	return c.take(&r, d, arguments, keys)
}

// take claims an action, and runs it.
func (c *claimer) take(r *store.Record, d *kapi.Definition, arguments json.RawMessage, keys []string) error {
	mine, err := c.newRun(c.ctx, d, arguments, r.ID)
	if err != nil {
		return err
	}
	h := mine.handle
	h.claiming.Store(true)
	claim := rules.Change{
		Kind: rules.KindClaim, ID: r.ID, Fence: r.Fence, Reads: d.Reads, Unjudged: true,
		Action: &store.Record{
			Action:  kapi.Action{Operation: d.Name, Keys: keys, Runner: &kapi.Runner{ID: c.self.ID, Host: c.self.Host, PID: c.self.PID}},
			Defined: &store.Defined{Limit: d.Limit},
		},
	}
	resumes(claim.Action.Defined, d)
	s, err := c.commit(claim)
	if err != nil || s.Record.RunnerID() != c.self.ID { // or the start is refused
		if errors.Is(err, kapi.ErrOutcomeUnknown) {
			c.ops.doubtClaim(r.ID)
		}
		mine.drop()
		return err
	}
	mine.have(s)
	c.ops.claimed(h, s.Record.Seq, c.view.Get)
	mine.took(&s.Record, true)
	continues := r.Defined.Continues != "" || r.Defined.Origin != r.ID
	mine.wait, mine.gate = time.Duration(r.Defined.Patience)*time.Millisecond, newGate(c.log, d, arguments, continues)
	c.log.Info("action claimed", "action", r.ID, "title", r.Title, "operation", d.Name, "attempt", max(s.Record.Attempt, 1))
	go func() { _ = mine.run() }() // an error is also in the action or the log
	return nil
}

// commit commits a claim if it is still to be had. If a key or turn that it needs is held, the holder is judged first.
func (c *claimer) commit(claim rules.Change) (*submission, error) {
	for {
		if now, ok := c.view.Get(claim.ID); !ok || now.Fence != claim.Fence {
			return nil, kapi.ErrStaleFence
		}
		s := submissionOf(claim)
		err := c.commits.commit(c.ctx, s)
		var held *kapi.HeldError
		if !errors.As(err, &held) || !claim.Unjudged {
			return s, err
		}
		c.judge(c.ctx, held)
		claim.Unjudged = false
	}
}
