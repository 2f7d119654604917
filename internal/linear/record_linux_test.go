package linear

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kettubot/kapi"
)

// A recorder records what the processes of a history report.
type recorder struct {
	mu        sync.Mutex
	processes []*account
}

// An account is what one process reported.
type account struct {
	slot     int
	launched int64
	killed   int64 // when it was about to be killed, 0 if it was not
	left     int64 // when it was told to end by itself
	gone     int64 // when it had ended by itself
	calls    map[int]*pending
	faults   []string
	begun    chan struct{} // closed at the first line
}

type pending struct {
	call     call
	answer   *answer
	from, to int64
}

func (r *recorder) process(slot int) *account {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &account{slot: slot, launched: now(), calls: map[int]*pending{}, begun: make(chan struct{})}
	r.processes = append(r.processes, p)
	return p
}

func (r *recorder) kills(p *account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.killed = now()
}

func (r *recorder) leaves(p *account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.left = now()
}

func (r *recorder) hasLeft(p *account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.gone = now()
}

// add records a line.
func (r *recorder) add(p *account, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var l line
	err := json.Unmarshal([]byte(text), &l)
	if len(p.calls) == 0 {
		close(p.begun)
	}
	begun := p.calls[l.N]
	switch {
	case err == nil && l.Call != nil && begun == nil:
		p.calls[l.N] = &pending{call: *l.Call, from: l.At}
	case err == nil && l.Answer != nil && begun != nil && begun.answer == nil:
		begun.answer, begun.to = l.Answer, l.At
		if l.Answer.Outcome == unexpected {
			p.faults = append(p.faults, fmt.Sprintf("%s %s: %s", begun.call.Kind, begun.call.Title, l.Answer.Text))
		}
	default:
		p.faults = append(p.faults, fmt.Sprintf("invalid line %q: %v", text, err))
	}
}

// faults returns everything that no peer should report.
func (r *recorder) faults() (all []string) {
	for _, p := range r.processes {
		for _, fault := range p.faults {
			all = append(all, fmt.Sprintf("peer %d: %s", p.slot, fault))
		}
	}
	return all
}

// nobody is the client of operations that no peer was asked to perform.
const nobody = peers * lanes

// operations returns the history, closed by a final reading of the store.
func (r *recorder) operations(closing operation) (all []operation) {
	stored := map[string]*sight{}
	for i := range closing.Seen {
		stored[closing.Seen[i].Title] = &closing.Seen[i]
	}
	for _, p := range r.processes {
		for _, n := range slices.Sorted(maps.Keys(p.calls)) {
			c := p.calls[n]
			o := operation{call: c.call, client: p.slot*lanes + c.call.Lane, from: c.from, to: c.to}
			if c.answer != nil {
				o.answer = *c.answer
			} else {
				o.Outcome = uncertain
			}
			s := stored[o.Title]
			if o.Kind == start && !o.Remote && s != nil {
				all = append(all, p.ends(&o, s)...)
			}
			if c.answer != nil && o.Handle && o.Kind == report && (o.Outcome == unavailable || o.Outcome == uncertain) {
				all = append(all, resent(o))
			}
			if o.settle(s) {
				all = append(all, o)
			}
		}
	}
	closing.call, closing.client = call{Kind: final}, nobody
	return append(all, closing)
}

// ends returns what may have ended an action other than a report of its peer: the peer was killed, or
// was not sure that the start was committed, so it ran nothing and then failed the action or left. What
// is stored at the end tells whether that happened.
func (p *account) ends(o *operation, s *sight) (all []operation) {
	by := operation{call: call{Title: o.Title}, client: nobody, to: forever}
	if s.Status == kapi.StatusFailed {
		by.seq = s.Seq // only a dismissal can follow it
	}
	unsure := o.Outcome == uncertain
	switch died := strings.HasPrefix(s.State, runnerDied); {
	case died && p.killed != 0:
		by.Kind, by.from = dies, p.killed
	case died && unsure:
		by.Kind, by.from = dies, p.left
	case unsure && s.State == startNotConfirmed:
		by.Kind, by.from = notRun, o.from
	default:
		return nil
	}
	return []operation{by}
}

// resent returns what becomes of a report that the store could not take from a handle: the handle keeps
// the state, and sends it without the move once it can.
func resent(o operation) operation {
	o.Outcome, o.Status, o.to = uncertain, 0, forever
	return o
}

// settle decides what an operation without a clear answer did, by what is stored of its action at the
// end (nil: nothing). It returns false if the operation can't have changed anything. The history then
// leaves it out, so any trace of it is illegal.
func (o *operation) settle(s *sight) bool {
	switch {
	case o.Outcome == unavailable:
		return false
	case o.Kind == start && o.Outcome == fine:
		o.Fence = o.Seen[0].Seq
	}
	if o.Outcome != uncertain {
		return true
	}
	o.to = forever
	if s == nil {
		return false
	}
	switch o.Kind {
	case start:
		o.Outcome, o.Fence = fine, s.Fence
		return true
	case dismiss:
		return s.Status == kapi.StatusAborted
	case report, end:
		completes, fails := o.Status == kapi.StatusCompleted, o.Status == kapi.StatusFailed
		return o.Fence == s.Fence && (!completes || s.Status == kapi.StatusCompleted) &&
			(!fails || s.Status == kapi.StatusFailed || s.Status == kapi.StatusAborted)
	}
	return false
}
