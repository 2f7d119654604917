package peer

import (
	"context"
	"sync"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Close stops the peer in order: no more starts, every operation is asked to stop (its
// context ends with ErrStopped), the grace period, and what has not finished by then
// fails with "kapi was stopped; not proven dead" and keeps its keys. Then the store is
// closed. Calls after the first wait for it.
func (p *Peer) Close() error {
	if !p.ops.close() {
		<-p.closed
		return nil
	}
	defer close(p.closed)

	for _, h := range p.ops.all() {
		h.cancel(kapi.ErrStopped)
	}
	p.ops.await(p.opts.Grace)
	settled := len(p.ops.all()) == 0
	p.abandon()
	p.settleUnconfirmed()
	if p.sweep.keeps() { // else the keeper does it
		p.sweep.purgeSome()
	}
	p.follow.syncs.close()
	p.cancel(kapi.ErrClosed)
	p.served.Wait()
	p.view.cutAll(kapi.ErrClosed)
	p.depart(settled)
	return p.store.Close()
}

// depart tells the store what this process leaves. settled: all operations had ended in time.
func (p *Peer) depart(settled bool) {
	how := store.DepartUnsettled
	switch {
	case len(p.ops.all()) > 0: // or one has just ended
		how = store.DepartWorking
	case settled && len(p.ops.leftUnsaid()) == 0 && !p.ops.anyDoubt():
		how = store.DepartSettled
	}
	if s, ok := p.store.(store.Roster); ok {
		s.Depart(how)
	}
}

// settleUnconfirmed ends what was started here without anybody knowing: once this process has gone
// it would look like the work of a dead one.
func (p *Peer) settleUnconfirmed() {
	if !p.ops.anyDoubt() {
		return
	}
	p.commits.nudge() // adopts what is still to be
	if p.follow.catchUp(p.ctx) != nil {
		return // the others settle it
	}
	p.sweep.settleAllOwn()
}

// abandon fails what is still running. Its work was not seen to end, so the keys stay
// held.
func (p *Peer) abandon() {
	var all sync.WaitGroup
	for _, h := range p.ops.all() {
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
			rep := h.again(rules.Report{Status: kapi.StatusFailed, State: &state, NotProvenDead: true})
			if err := p.commits.commit(ctx, h.change(rep)); err != nil {
				p.log.Error("an operation outlived the grace period and this could not be recorded",
					"action", h.id, "error", err)
			}
		})
	}
	all.Wait()
}
