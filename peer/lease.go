package peer

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// A lease says that this process is alive, for as long as it runs something.
type lease struct {
	every, timeout time.Duration
	store          store.Store
	view           *view
	ops            *operations
	log            *slog.Logger

	ctx    context.Context           // ends with the peer
	runner func() store.RunnerRecord // what is to be kept of this process
	send   func(context.Context, *submission) error

	soon chan struct{} // asks for a renewal now; holds one
}

func (l *lease) loop() {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.soon:
		case <-l.ctx.Done():
			return
		}
		l.renew()
	}
}

// renewNow has the lease renewed at once, in the background.
func (l *lease) renewNow() {
	select {
	case l.soon <- struct{}{}:
	default:
	}
}

// renew renews the lease, and takes back what was said of this runner's silence.
func (l *lease) renew() {
	handles := l.ops.all()
	if len(handles) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.timeout)
	defer cancel()
	if err := l.store.Renew(ctx, l.runner()); err != nil {
		if l.ctx.Err() == nil {
			l.log.Warn("the lease can't be renewed; operations go on", "error", err)
		}
		return
	}
	for _, h := range handles {
		if r, ok := l.view.Get(h.id); ok && r.Silence != "" {
			c := submissionOf(rules.Change{Kind: rules.KindRestore, ID: h.id, Fence: r.Fence})
			// Nobody waits for that: the next renewal must not be late for it, and asks again.
			if err := l.send(ctx, c); err != nil && l.ctx.Err() == nil {
				l.log.Warn("an action can't be marked as heard again yet", "action", h.id, "error", err)
			}
		}
	}
}

// ExpectWork has it recorded with every start from now on by what its processes are recognised, until
// RecordWork says more. It is for peers whose operations run commands.
func (p *Peer) ExpectWork(w proc.Work) {
	p.ops.recordWork(anyAction, w)
}

// RecordWork records the processes that do the work of an action that this peer runs, so that other peers recognise
// what is left of them if this process dies. It returns when another process can read that; the
// error wraps ErrUnavailable. It is for operations that run commands.
func (p *Peer) RecordWork(ctx context.Context, id string, w proc.Work) error {
	p.ops.recordWork(id, w)
	ctx, cancel := store.WithPatience(ctx, p.opts.StoreTimeout)
	defer cancel(nil)
	if err := p.store.Renew(ctx, p.runner()); err != nil {
		return fmt.Errorf("record the processes of the command: %w", err)
	}
	return nil
}
