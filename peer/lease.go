package peer

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// leaseParts is how often a lease is renewed while it lasts.
const leaseParts = 3

// A lease keeps renewing this process's lease in the store while it runs operations, or always if it offers some.
type lease struct {
	every, timeout time.Duration
	store          store.Store
	view           *view
	ops            *operations
	always         bool // renew it also while no operation runs
	log            *slog.Logger

	ctx    context.Context           // ends with the peer
	runner func() store.RunnerRecord // this process's record in the store
	send   func(context.Context, *submission) error

	soon chan struct{}             // asks for a renewal now; holds one
	last atomic.Pointer[time.Time] // when it was last renewed
	// early is set with soon if the renewal is the next one, only a little before its time.
	early atomic.Bool
	signs signs
}

func (l *lease) loop() {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.soon:
			if l.early.Swap(false) {
				tick.Reset(l.every)
			}
		case <-l.ctx.Done():
			return
		}
		l.renew()
	}
}

// renewBy renews the lease at once if it would be renewed within d.
func (l *lease) renewBy(d time.Duration) {
	if last := l.last.Load(); last == nil || time.Since(*last) > l.every-d {
		l.early.Store(true)
		l.renewNow()
	}
}

// renewNow renews the lease at once, in the background.
func (l *lease) renewNow() {
	select {
	case l.soon <- struct{}{}:
	default:
	}
}

// renew renews the lease if it must be renewed, and restores those of their actions that are marked as
// silent.
func (l *lease) renew() {
	now := time.Now()
	l.last.Store(&now)
	handles := l.ops.started(leaseParts * l.every)
	if len(handles) == 0 && !l.always {
		return
	}
	l.stopLate() // first: after the renewal it would be in time again
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	if err := l.renewIn(ctx); err != nil {
		if l.ctx.Err() == nil {
			l.log.Warn("the lease can't be renewed; operations continue", "error", err)
		}
		return
	}
	for _, h := range handles {
		if r, ok := l.view.Get(h.id); ok && r.Silence != "" {
			c := submissionOf(rules.Change{Kind: rules.KindRestore, ID: h.id, Fence: r.Fence})
			// Don't wait for the outcome, which could delay the next renewal. That one tries again.
			if err := l.send(ctx, c); err != nil && l.ctx.Err() == nil {
				l.log.Warn("an action can't be marked as heard again yet", "action", h.id, "error", err)
			}
		}
	}
}

// renewIn renews the lease.
func (l *lease) renewIn(ctx context.Context) error {
	sent := l.signs.now()
	err := l.store.Renew(ctx, l.runner())
	if err == nil {
		l.signs.note(sent)
	}
	return err
}

// ExpectWork sets how processes are recognised as the work of an action for which RecordWork was not
// called yet. The store gets it with the next start or renewal. It is for peers whose operations run
// commands.
func (p *Peer) ExpectWork(w proc.Work) {
	p.ops.recordWork(anyAction, w)
}

// RecordWork records the processes that do the work of an action of this peer, so that other peers
// recognise the remaining ones if this process dies. When it returns, other processes can read the
// record. The error wraps ErrUnavailable. It is for operations that run commands.
func (p *Peer) RecordWork(ctx context.Context, id string, w proc.Work) error {
	p.ops.recordWork(id, w)
	ctx, cancel := store.WithPatience(ctx, p.opts.StoreTimeout)
	defer cancel(nil)
	if err := p.lease.renewIn(ctx); err != nil {
		return fmt.Errorf("record the processes of the command: %w", err)
	}
	return nil
}
