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

// backup is how many of these intervals after a renewal for the sweeper the lease is renewed without being asked. That
// leaves time for one more before the lease has passed.
const backup = 2

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

// loop renews the lease when the sweeper asks for it, at its calls (see renewBy). Its own timer fires only if they stay
// away: a light peer in a crowd should not wake up for a timer that has just been put off, as Go's timers do.
func (l *lease) loop() {
	due := time.Now().Add(l.every)
	timer := time.NewTimer(l.every)
	defer timer.Stop()
	for {
		early, between := false, false
		select {
		case <-timer.C:
		case <-l.soon:
			early = l.early.Swap(false)
			between = !early
		case <-l.ctx.Done():
			return
		}
		began := time.Now()
		next := began.Add(l.every)
		renewed := l.renew()
		if renewed && early {
			due = began.Add(backup * l.every)
		} else if !between || due.After(next) {
			due = next
		}
		if renewed && !l.always && l.ops.onlyStarting() {
			due = began.Add(backup * l.every) // the sweeper asks when there is something to renew
		}
		timer.Reset(time.Until(due))
	}
}

// renewBy renews the lease at once if it would be renewed within d, and puts the timer off.
func (l *lease) renewBy(d time.Duration) {
	if last := l.last.Load(); last == nil || time.Since(*last) > l.every-d {
		l.early.Store(true)
		l.renewNow()
	}
}

// renewOverdue renews the lease at once if its timer was put off and it is time.
func (l *lease) renewOverdue() {
	if last := l.last.Load(); last != nil && time.Since(*last) > l.every {
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
// silent. It is false if it has to be tried again.
func (l *lease) renew() bool {
	now := time.Now()
	l.last.Store(&now)
	handles := l.ops.started(leaseParts * l.every)
	if len(handles) == 0 && !l.always {
		return true
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	if err := l.renewIn(ctx); err != nil {
		if l.ctx.Err() == nil {
			l.log.Warn("the lease can't be renewed; operations continue", "error", err)
		}
		return false
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
	return true
}

// renewIn renews the lease. Before that it stops the operations for which it comes too late: afterwards the lease would be
// in time again. Both count from one moment, so a process that is frozen at any point between them wakes up late.
func (l *lease) renewIn(ctx context.Context) error {
	sent := l.signs.now()
	l.stopLateAt(sent.boot)
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
	if err := p.renewSoon(ctx); err != nil {
		return fmt.Errorf("record the processes of the command: %w", err)
	}
	return nil
}

// renewSoon renews the lease, within the StoreTimeout.
func (p *Peer) renewSoon(ctx context.Context) error {
	ctx, cancel := store.WithPatience(ctx, p.opts.StoreTimeout)
	defer cancel(nil)
	return p.lease.renewIn(ctx)
}
