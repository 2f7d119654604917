package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// renewLoop says that this process is alive, for as long as it runs something.
func (p *Peer) renewLoop() {
	tick := time.NewTicker(p.opts.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.renew:
		case <-p.ctx.Done():
			return
		}
		p.renewOnce()
	}
}

func (p *Peer) renewNow() {
	select {
	case p.renew <- struct{}{}:
	default:
	}
}

// renewOnce renews the lease, and takes back what was said of this runner's silence.
func (p *Peer) renewOnce() {
	p.mu.Lock()
	handles := make([]*handle, 0, len(p.running))
	for _, h := range p.running {
		handles = append(handles, h)
	}
	p.mu.Unlock()
	if len(handles) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.renewTimeout)
	defer cancel()
	if err := p.store.Renew(ctx, p.runner()); err != nil {
		if p.ctx.Err() == nil {
			p.log.Warn("the lease can't be renewed; operations go on", "error", err)
		}
		return
	}
	for _, h := range handles {
		if r, ok := p.view.Get(h.id); ok && r.Silence != "" {
			c := submit(rules.Change{Kind: rules.KindRestore, Id: h.id, Fence: r.Fence})
			// Nobody waits for that: the next renewal must not be late for it, and asks again.
			if err := p.enqueue(ctx, c); err != nil && p.ctx.Err() == nil {
				p.log.Warn("an action can't be marked as heard again yet", "action", h.id, "error", err)
			}
		}
	}
}

// runner returns what the store is to keep of this peer.
func (p *Peer) runner() store.RunnerRecord {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.self
	if len(p.work) > 0 {
		work, err := json.Marshal(p.work)
		if err != nil {
			panic(err) // it has nothing that can't be encoded
		}
		r.Work = string(work)
	}
	return r
}

// ExpectWork has it recorded with every start from now on by what its processes are recognised, until
// RecordWork says more. It is for peers whose operations run commands.
func (p *Peer) ExpectWork(w proc.Work) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.work == nil {
		p.work = runnerWork{}
	}
	p.work[anyAction] = w
}

// RecordWork records the processes that do the work of an action that this peer runs, so that other peers recognise
// what is left of them if this process dies. It returns when another process can read that; the
// error wraps ErrUnavailable. It is for operations that run commands.
func (p *Peer) RecordWork(ctx context.Context, id string, w proc.Work) error {
	p.mu.Lock()
	if p.work == nil {
		p.work = runnerWork{}
	}
	p.work[id] = w
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.opts.StoreTimeout)
	defer cancel()
	if err := p.store.Renew(ctx, p.runner()); err != nil {
		return fmt.Errorf("record the processes of the command: %w", err)
	}
	return nil
}
