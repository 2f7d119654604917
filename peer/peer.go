package peer

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// A Peer is this process's part in a store: it starts actions and runs them. It begins to follow the
// actions of all peers with the first call that needs them (see Follow). Until then its cost doesn't
// depend on the number of actions in the store. All peers of a store are equal. Its methods may be called
// concurrently.
type Peer struct {
	store store.Store
	opts  Options
	log   *slog.Logger
	self  store.RunnerRecord // without its Work

	view     *view
	counters counters
	ops      operations
	commits  committer
	follow   follower
	flush    flusher
	lease    lease
	adopt    adopter
	sweep    sweeper
	offers   offerer
	claims   claimer

	// ctx ends when Close has settled the operations. The peer's goroutines end with it.
	ctx    context.Context
	cancel context.CancelCauseFunc
	served sync.WaitGroup
	faults *fault.Net    // nil except in kapi's own commands
	closed chan struct{} // closed when Close is done
}

// Open makes this process a peer of the store. ctx limits only Open itself. The peer owns
// the store: Close closes it, and so does Open if it fails.
func Open(ctx context.Context, s Store, options Options) (*Peer, error) {
	p, err := open(ctx, s, options)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return p, nil
}

func open(ctx context.Context, s store.Store, options Options) (*Peer, error) {
	opts, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	me := proc.Self()
	p := &Peer{
		store: s, opts: opts, log: opts.Logger,
		self: store.RunnerRecord{
			ID: newID(), Host: me.Host, PID: me.PID,
			BootID: me.BootID, PIDNamespace: me.PIDNamespace, StartTime: me.StartTime,
			Lease: opts.Lease, Own: true,
		},
		faults: fault.From(ctx),
		closed: make(chan struct{}),
	}
	if err := proc.Unproven(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		p.log.Warn("this process can't be identified; if it dies, others notice that only by its silence", "error", err)
	}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.assemble(me.Clock)
	ctx, cancel := store.WithPatience(ctx, opts.StoreTimeout) // it may have to wait in line for a connection
	defer cancel(nil)
	oneMachine, err := p.follow.loadOwn(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	p.sweep.oneMachine = oneMachine
	loops := []func(){p.commits.loop, p.flush.loop, p.lease.loop, p.follow.loop, p.sweep.loop}
	if p.offers.any() {
		if err := p.offers.publish(ctx); err != nil {
			return nil, fmt.Errorf("publish its operations: %w", err)
		}
		p.claims.epoch = p.view.at().Epoch
		loops = append(loops, p.claims.loop)
	}
	for _, serve := range loops {
		p.spawn(serve)
	}
	return p, nil
}

// spawn calls f in a goroutine. Close waits for it.
func (p *Peer) spawn(f func()) { p.faults.Go(&p.served, f) }

// assemble builds the parts of the peer, and gives each only what it uses.
func (p *Peer) assemble(clock string) {
	p.counters.init()
	p.ops.init(p.self.ID, p.log, p.lease.renewNow)
	p.offers = offerer{
		store: p.store, log: p.log, ctx: p.ctx, runner: p.runner, closing: p.ops.isClosing, dead: p.sweep.isDead,
		read: p.opts.readTimeout, patient: p.opts.StoreTimeout, lease: p.opts.Lease,
	}
	p.offers.init(p.opts.Operations)
	p.view = newView(p.notice(), p.ops.lose)
	p.view.own = p.self.ID
	p.commits = committer{
		store: p.store, view: p.view, flight: newFlight(), counters: &p.counters, log: p.log,
		timeout: p.opts.StoreTimeout, limits: rules.Limits{Lease: p.opts.Lease, Self: p.self.ID},
		ctx: p.ctx, runner: p.runner, reclaims: p.ops.reclaims, reload: p.follow.reload,
		submit: make(chan *submission, 4*maxBatch), deciding: make(chan struct{}, 1),
	}
	p.adopt = adopter{ctx: p.ctx, own: p.ops.has, nudge: p.commits.nudge, spawn: p.spawn}
	p.follow = follower{
		store: p.store, view: p.view, counters: &p.counters, log: p.log, timeout: p.opts.readTimeout,
		ctx: p.ctx, spawn: p.spawn, inFlight: p.commits.flight.reads, still: p.commits.still,
		found: p.adopt.found, unreadable: p.lease.renewNow, nudge: p.commits.nudge,
		ops:   &p.ops,
		light: peeker{runner: p.self.ID, every: p.opts.Lease},
	}
	p.follow.init()
	p.flush.init(p.ctx, p.commits.wait)
	p.lease = lease{
		every: p.opts.Lease / leaseParts, timeout: p.opts.renewTimeout, store: p.store, view: p.view, ops: &p.ops, log: p.log,
		ctx: p.ctx, runner: p.runner, send: p.commits.send, soon: make(chan struct{}, 1), always: p.offers.any(),
	}
	p.lease.signs.init(p.opts.Lease, p.opts.GiveUp, p.opts.sinceBoot, p.lease.stopLate)
	p.sweep = sweeper{
		store: p.store, view: p.view, ops: &p.ops, commits: &p.commits, follow: &p.follow,
		opts: &p.opts, log: p.log, self: &p.self, clock: clock, ctx: p.ctx,
		renewBy: p.lease.renewBy, renewOverdue: p.lease.renewOverdue,
	}
	p.sweep.init()
	p.claims = claimer{
		store: p.store, view: p.view, ops: &p.ops, offers: &p.offers, commits: &p.commits, log: p.log, ctx: p.ctx,
		timeout: p.opts.readTimeout, self: &p.self, follow: p.Follow, sync: p.follow.sync, judge: p.judgeNow, newRun: p.newDefinedRun,
	}
	p.claims.init()
}

// notice returns what is called with each change in the view.
func (p *Peer) notice() func(*store.Record) {
	if !p.offers.any() {
		return p.ops.notice
	}
	return func(r *store.Record) {
		p.ops.notice(r)
		p.claims.notice(r)
	}
}

// runner returns this process's record for the store.
func (p *Peer) runner() store.RunnerRecord {
	r := p.self
	r.Work = p.ops.recordedWork()
	return r
}

// Follow makes the peer follow the actions of all peers from now on: it reads the ongoing actions,
// settles those of dead runners, and then reads the feed. Every call that needs the actions of other
// peers does this itself; an earlier Follow only makes the first such call faster. The error wraps
// ErrUnavailable, is ErrClosed, or is the cause of the end of ctx.
func (p *Peer) Follow(ctx context.Context) error {
	if err := p.follow.fill(ctx, true); err != nil {
		return err
	}
	return p.sweep.awaitFirst(ctx)
}

// upToDate returns once the view has everything that was committed before the call, and the actions of
// runners that were provably dead when this peer began to follow are settled.
func (p *Peer) upToDate(ctx context.Context) error {
	if err := p.Follow(ctx); err != nil {
		return err
	}
	return p.follow.sync(ctx)
}

// Get returns an ongoing action, as of the call or later, with its runner's current
// HeardAt. The error is ErrUnknown if there is no such ongoing action, or one of Follow's.
func (p *Peer) Get(ctx context.Context, id string) (kapi.Action, error) {
	if err := p.upToDate(ctx); err != nil {
		return kapi.Action{}, err
	}
	r, ok := p.view.Get(id)
	if !ok {
		return kapi.Action{}, kapi.ErrUnknown
	}
	a := r.Shown()
	return a, p.refreshHeard(&a)
}

// refreshHeard updates the HeardAt of the action's runner from the store.
func (p *Peer) refreshHeard(a *kapi.Action) error {
	if a.Runner == nil {
		return nil
	}
	// Not the caller's context: if that ended during the read, the store would lose its connection.
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.readTimeout)
	defer cancel()
	runners, err := p.store.Runners(ctx, []string{a.Runner.ID})
	if err != nil {
		return fmt.Errorf("read when runners were last heard: %w", err)
	}
	for i := range runners {
		if runners[i].ID == a.Runner.ID {
			runner := *a.Runner
			runner.HeardAt = max(runner.HeardAt, runners[i].HeardAt)
			a.Runner = &runner
		}
	}
	return nil
}

// List returns all ongoing actions (0 to 3), oldest first, as of the call or later. The errors are those
// of Follow.
func (p *Peer) List(ctx context.Context) ([]kapi.Action, error) {
	if err := p.upToDate(ctx); err != nil {
		return nil, err
	}
	all, _ := p.view.all()
	actions := make([]kapi.Action, len(all))
	for i, e := range all {
		actions[i] = e.Shown()
	}
	return actions, nil
}

// ListJSON is List in its wire form, cached, for servers.
func (p *Peer) ListJSON(ctx context.Context) (Listing, error) {
	if err := p.upToDate(ctx); err != nil {
		return Listing{}, err
	}
	return p.view.list(""), nil
}

// Sign returns an HMAC-SHA256 of purpose and parts. The key is kept in the store, so all peers of a
// store return the same signature. Signatures with different purposes differ.
func (p *Peer) Sign(purpose string, parts ...string) []byte {
	mac := hmac.New(sha256.New, *p.follow.secret.Load())
	for _, part := range append([]string{purpose}, parts...) {
		fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return mac.Sum(nil)
}

// Ready returns nil if the store can be read. Otherwise the error wraps ErrUnavailable, is ErrClosed,
// or, once the peer follows all actions, is the cause of the end of ctx.
func (p *Peer) Ready(ctx context.Context) error {
	if p.view.isFull() {
		return p.follow.check(ctx)
	}
	if p.ctx.Err() != nil {
		return kapi.ErrClosed
	}
	_, err := p.sweep.some(nil)
	return err
}

// newID returns at least 128 random bits as lower-case letters and digits: safe in URLs,
// and never mistaken for a flag.
func newID() string { return strings.ToLower(rand.Text()) }
