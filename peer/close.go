package peer

import (
	"context"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
)

// Close stops the peer in order: no more starts, every operation is asked to stop (its
// context ends with ErrStopped), the grace period, and what has not finished by then
// fails with "kapi was stopped; not proven dead" and keeps its keys. Then the store is
// closed. Calls after the first wait for it.
func (p *Peer) Close() error {
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		<-p.closed
		return nil
	}
	p.closing = true
	handles := make([]*handle, 0, len(p.running))
	for _, h := range p.running {
		handles = append(handles, h)
	}
	p.mu.Unlock()
	defer close(p.closed)

	for _, h := range handles {
		h.cancel(kapi.ErrStopped)
	}
	p.awaitOperations()
	p.abandon()
	p.settleUnconfirmed()
	p.purgeSome()
	p.syncs.close()
	p.cancel(kapi.ErrClosed)
	p.served.Wait()
	p.view.cutAll(kapi.ErrClosed)
	return p.store.Close()
}

// awaitOperations waits for the operations, and for the grace period at most.
func (p *Peer) awaitOperations() {
	if p.opts.Grace < 0 {
		return
	}
	done := make(chan struct{})
	go func() { // ends with the last operation, which may be long after Close
		p.ops.Wait()
		close(done)
	}()
	grace := time.NewTimer(p.opts.Grace)
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
	}
}

// settleUnconfirmed ends what was started here without anybody knowing: once this process has gone
// it would look like the work of a dead one.
func (p *Peer) settleUnconfirmed() {
	if !p.unconfirmed.Load() {
		return
	}
	p.nudge() // adopts what is still to be
	if p.catchUp(p.ctx) != nil {
		return // the others settle it
	}
	all, _ := p.view.all()
	for _, e := range all {
		if e.RunnerID() == p.self.ID {
			p.settleOwn(e)
		}
	}
}

// abandon fails what is still running. Its work was not seen to end, so the keys stay
// held.
func (p *Peer) abandon() {
	p.mu.Lock()
	left := make([]*handle, 0, len(p.running))
	for _, h := range p.running {
		left = append(left, h)
	}
	p.mu.Unlock()
	var all sync.WaitGroup
	for _, h := range left {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(p.ctx, p.opts.StoreTimeout)
			defer cancel()
			if !h.seal() { // it ended just now and reports for itself
				select {
				case <-h.ended:
				case <-ctx.Done():
				}
				return
			}
			state := kapi.ErrStopped.Error() + "; " + rules.NotProvenDead
			rep := h.again(rules.Report{Status: kapi.StatusFailed, State: &state, GoesOn: true})
			if err := p.commit(ctx, h.change(rep)); err != nil {
				p.log.Error("an operation outlived the grace period and this could not be recorded",
					"action", h.id, "error", err)
			}
		})
	}
	all.Wait()
}
