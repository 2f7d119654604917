package peer

import (
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// Close stops the peer. From then on starts are refused, and what it offers is no longer offered. Close asks every operation to stop (its
// context ends with ErrStopped) and waits for the grace period. Operations that have not ended by
// then fail with "kapi was stopped; not proven dead" and keep their keys. Then Close closes the
// store. Later calls wait for the first one.
func (p *Peer) Close() error {
	if !p.ops.close() {
		<-p.closed
		return nil
	}
	defer close(p.closed)

	p.offers.withdraw()
	for _, h := range p.ops.all() {
		h.cancel(kapi.ErrStopped)
	}
	p.ops.await(p.opts.Grace)
	settled := len(p.ops.all()) == 0
	p.abandon()
	p.settleUnconfirmed()
	if p.sweep.keeps() { // otherwise the keeper purges
		p.sweep.purgeSome()
	}
	p.follow.syncs.close()
	p.cancel(kapi.ErrClosed)
	p.served.Wait()
	p.view.cutAll(kapi.ErrClosed)
	p.depart(settled)
	return p.store.Close()
}

// depart tells the store in what state this process leaves it. settled is whether all operations
// ended within the grace period.
func (p *Peer) depart(settled bool) {
	how := store.DepartUnsettled
	switch {
	case len(p.ops.all()) > 0: // some still run, or have only just ended
		how = store.DepartWorking
	case settled && len(p.ops.leftUnsaid()) == 0 && !p.ops.anyDoubt():
		how = store.DepartSettled
	}
	if s, ok := p.store.(store.Roster); ok {
		s.Depart(how)
	}
}

// settleUnconfirmed ends actions that may have been started although their callers were not told so.
// Once this process has ended they would look like the work of a dead runner.
func (p *Peer) settleUnconfirmed() {
	if !p.ops.anyDoubt() {
		return
	}
	p.commits.nudge() // adopts recorded starts
	if p.follow.catchUp(p.ctx) != nil {
		return // other peers settle them
	}
	p.sweep.settleAllOwn()
}

// abandon fails the actions of operations that are still running. They keep their keys, because
// nobody has seen their work end.
func (p *Peer) abandon() {
	var all sync.WaitGroup
	for _, h := range p.ops.all() {
		if h.defined != nil && h.defined.resumable() {
			continue // its runner is found dead once this process has ended, and another one continues the work
		}
		all.Go(func() {
			if !h.seal() { // it has just ended, and reports that itself
				select {
				case <-h.ended:
				case <-time.After(p.opts.StoreTimeout):
				}
				return
			}
			state := kapi.ErrStopped.Error() + "; " + rules.NotProvenDead
			rep := h.again(rules.Report{Status: kapi.StatusFailed, State: &state, NotProvenDead: true})
			if err := p.commits.commit(p.ctx, h.change(rep)); err != nil {
				p.log.Error("an operation outlived the grace period, and its failure could not be recorded",
					"action", h.id, "error", err)
			}
		})
	}
	all.Wait()
}
