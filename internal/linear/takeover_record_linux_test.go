package linear

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kettubot/kapi"
)

// takeovers returns the history of operations, closed by a final reading of the store. silence says whether a runner may
// lose its actions by silence alone.
func (r *recorder) takeovers(closing operation, silence bool) (all []operation) {
	stored := map[string]*sight{}
	for i := range closing.Seen {
		stored[closing.Seen[i].Title] = &closing.Seen[i]
	}
	left := map[string]bool{}
	for _, p := range r.processes {
		runner := p.runner()
		left[runner] = p.gone != 0
		calls := p.runs(stored)
		all = append(all, calls...)
		for title := range touched(calls) {
			for _, within := range p.absences(silence) {
				all = append(all, operation{
					call: call{Kind: gone, Title: title, runCall: runCall{Runner: runner}}, client: nobody, from: within.from, to: within.to,
				})
			}
		}
	}
	return append(all, lastSights(all, closing, stored, left)...)
}

// lastSights returns the final reading of each action that anybody has started or seen.
func lastSights(all []operation, closing operation, stored map[string]*sight, left map[string]bool) (last []operation) {
	for i := range all {
		if title := all[i].Title; stored[title] == nil {
			stored[title] = nil
		}
	}
	for title, s := range stored {
		o := operation{call: call{Kind: final, Title: title}, client: nobody, from: closing.from, to: closing.to}
		if s != nil {
			o.Seen, o.left = []sight{*s}, left[s.Runner]
		}
		last = append(last, o)
	}
	return last
}

// runner returns the id of the process's runner, "" if it has never renewed a lease. A peer that could not be opened at
// once had others before.
func (p *account) runner() (id string) {
	last := -1
	for n, c := range p.calls {
		if c.call.Kind == renew && n > last {
			id, last = c.call.Runner, n
		}
	}
	return id
}

// touched returns the titles of the actions that the calls of a process may have made it run.
func touched(calls []operation) map[string]bool {
	titles := map[string]bool{}
	for i := range calls {
		if o := &calls[i]; o.Kind == claim || o.Kind == begin && o.Offers {
			titles[o.Title] = true
		}
	}
	return titles
}

// A span is from one time to another.
type span struct{ from, to int64 }

// absences returns when others could take the process's actions over: since it was killed or was told to leave, and
// while its lease was not renewed for the second limit.
func (p *account) absences(silence bool) (all []span) {
	if p.killed != 0 {
		all = append(all, span{p.killed, forever})
	}
	if p.left != 0 {
		all = append(all, span{p.left, forever})
	}
	if !silence {
		return all
	}
	var renewals []*pending
	for _, c := range p.calls {
		if c.call.Kind == renew && c.call.Runner == p.runner() && c.answer != nil && c.answer.Outcome == fine {
			renewals = append(renewals, c)
		}
	}
	slices.SortFunc(renewals, func(a, b *pending) int { return cmp.Compare(a.from, b.from) })
	for i, c := range renewals {
		silent := span{c.from + giveUpSoon.Nanoseconds(), forever}
		if i+1 < len(renewals) {
			silent.to = renewals[i+1].to
		}
		if silent.from <= silent.to {
			all = append(all, silent)
		}
	}
	return all
}

// runs returns the calls of a process, in the form that the model of takeovers takes.
func (p *account) runs(stored map[string]*sight) (all []operation) {
	for _, n := range slices.Sorted(maps.Keys(p.calls)) {
		c := p.calls[n]
		o := operation{call: c.call, client: p.slot*lanes + c.call.Lane, from: c.from, to: c.to}
		if c.answer != nil {
			o.answer = *c.answer
		} else {
			o.Outcome, o.to = uncertain, forever
		}
		all = append(all, p.took(&o, stored[o.Title])...)
	}
	return all
}

// took returns what a call did, given what is stored of its action at the end (nil: nothing). It returns nothing for a
// call that can't have changed anything, and of which no answer is known.
func (p *account) took(o *operation, s *sight) []operation {
	known := o.Outcome == fine
	switch o.Kind {
	case begin:
		return p.began(o, s)
	case claim: // its peer had claimed the action before Run was called
		o.from, o.to, o.Outcome = p.launched, o.from, fine
		return []operation{*o}
	case restore: // the engine has read the checkpoints after the claim
		o.from = p.launched
		if known {
			return []operation{*o}
		}
	case proceed:
		if known {
			return []operation{*o}
		}
	case save:
		if o.Outcome == uncertain {
			o.to = forever
		}
		if o.Outcome != unavailable && o.Outcome != stopped {
			return []operation{*o}
		}
	case end:
		return p.ended(o, s)
	case get:
		if known || o.Outcome == unknown {
			return []operation{*o}
		}
	}
	return nil
}

// began returns the start of an action, what its answer shows, and how it may have ended without having begun.
func (p *account) began(o *operation, s *sight) (all []operation) {
	if o.Offers {
		o.Runner = p.runner()
	}
	if o.Outcome == fine {
		shows := *o
		shows.Kind = get
		if o.Offers {
			o.Fence = o.Seen[0].Seq
		}
		o.Seen = nil // a peer that doesn't run it itself answers later than it was recorded
		return []operation{*o, shows}
	}
	if o.Outcome != uncertain || s == nil {
		return nil
	}
	o.Outcome, o.to = fine, forever
	if o.Offers && s.Status == kapi.StatusFailed {
		by := operation{call: o.call, client: nobody, from: o.from, to: forever}
		by.Kind = unbegun
		all = append(all, by)
	}
	return append(all, *o)
}

// ended returns the end of a run. No caller is told when that is on disk. What is stored at the end says which end it was.
func (p *account) ended(o *operation, s *sight) []operation {
	o.Outcome, o.to = fine, forever
	if p.gone != 0 {
		o.to = p.gone
	}
	happened := s != nil && s.Status == o.Status && s.Fence == o.Fence
	switch {
	case o.Status == 0, happened:
	case o.Status == kapi.StatusFailed:
		o.Status = 0 // it was handed over, if it was to stop by then; otherwise it had been taken over
	default:
		return nil
	}
	return []operation{*o}
}
