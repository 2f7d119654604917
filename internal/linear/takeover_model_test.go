package linear

import (
	"fmt"
	"hash/maphash"

	"github.com/anishathalye/porcupine"

	"github.com/kettubot/kapi"
)

// A resumable is what the model of takeovers knows about the action of an operation. It is one state of that model, and
// immutable.
type resumable struct {
	started bool
	id      string
	// runner is the latest one, fence that of its claim, 0 if that is not known yet: Run has not been called. claimed is
	// the highest fence with which Run was called.
	runner         string
	fence, claimed uint64
	vacancy        vacancy
	attempt        int
	// place is the last checkpoint.
	place place
	// ended is completed or failed, 0 while the action is ongoing.
	ended    kapi.Status
	head     uint64 // the highest seq that was seen of it
	progress float64
}

// A vacancy says whether an action has a runner.
type vacancy int

const (
	filled   vacancy = iota
	doubtful         // its runner has given a reason to take the action from it, and that may have been done
	vacant
)

// has reports whether the runner with this fence may have the action.
func (r resumable) has(fence uint64) bool {
	return r.ended == 0 && r.vacancy != vacant && fence != 0 && r.fence == fence
}

// step applies one call to an action, as model.step does.
func (r resumable) step(o *operation) (bool, resumable) {
	switch o.Kind {
	case begin:
		return r.begins(o)
	case claim:
		return r.claims(o)
	case restore:
		gone := r.ended == kapi.StatusCompleted && o.Found == nil // checkpoints end with their action
		return o.Fence <= r.claimed && (found(o.Found) == r.place || gone), r
	case save:
		return r.saves(o)
	case proceed: // it says that no other runner has come yet
		next := r
		next.vacancy = filled
		return r.has(o.Fence), next
	case end:
		return r.ends(o)
	case gone:
		if r.runner == o.Runner {
			r.lapses()
		}
		return true, r
	case unbegun:
		next := r
		if r.ended == 0 && r.claimed == 0 && r.runner == o.Runner {
			next.ended = kapi.StatusFailed
		}
		return r.started, next // otherwise another one has begun it
	case get:
		if o.Outcome == unknown {
			return !r.started || r.ended == kapi.StatusCompleted, r
		}
		return r.seen(&o.Seen[0])
	case final:
		return r.stored(o)
	}
	return false, r
}

// lapses notes that the runner may have lost the action.
func (r *resumable) lapses() {
	if r.vacancy == filled && r.ended == 0 {
		r.vacancy = doubtful
	}
}

// begins is a start. At a peer that offers the operation, the action has a runner at once.
func (r resumable) begins(o *operation) (bool, resumable) {
	next := resumable{started: true, vacancy: vacant, attempt: 1}
	if o.Offers {
		next.vacancy, next.runner, next.fence, next.head = filled, o.Runner, o.Fence, o.Fence
	}
	return !r.started, next
}

// claims is the beginning of a run. Its peer has started the action itself; or it has claimed an action without a
// runner, with a fence above every seq that there was.
func (r resumable) claims(o *operation) (bool, resumable) {
	next := r
	next.runner, next.fence, next.claimed, next.vacancy = o.Runner, o.Fence, o.Fence, filled
	next.attempt, next.head = o.Attempt, max(r.head, o.Fence)
	if !r.started || r.ended != 0 || o.Attempt < r.attempt || !next.is(o.ID) || !next.is(o.Origin) || o.Fence <= r.claimed {
		return false, r
	}
	if r.vacancy != vacant && r.runner == o.Runner { // its claim, or its start, was seen before Run was called
		if r.fence == o.Fence || r.fence == 0 {
			return true, next
		}
	}
	return r.vacancy != filled && o.Fence > r.head, next
}

// is reports whether the action has this id. The first one that is seen counts.
func (r *resumable) is(id string) bool {
	if r.id == "" {
		r.id = id
	}
	return r.id == id
}

// saves is a checkpoint. One whose fence isn't that of the action's runner is refused; any other one is stored.
func (r resumable) saves(o *operation) (bool, resumable) {
	has, next := r.has(o.Fence), r
	switch {
	case o.Outcome == fine || o.Outcome == uncertain && has:
		next.place, next.vacancy = *o.Place, filled
		return has, next
	case o.Outcome == uncertain:
		return true, r
	case has && r.vacancy == filled:
		return false, r
	case has: // the refusal says that the runner has lost the action
		next.vacancy = vacant
	}
	return true, next
}

// ends is the end of a run: that of the action, or a hand-over.
func (r resumable) ends(o *operation) (bool, resumable) {
	has, next := r.has(o.Fence), r
	switch {
	case o.Status == 0 && has:
		next.lapses()
		return true, next
	case o.Status == 0:
		return true, r
	case o.Status == kapi.StatusCompleted:
		next.place = place{}
	}
	next.ended, next.vacancy = o.Status, filled
	return has, next
}

// seen reports whether the action may be seen like that. It may show a runner whose Run was not called yet, and never
// will be if that dies, or doesn't know that its claim has succeeded.
func (r resumable) seen(s *sight) (bool, resumable) {
	next, progress := r, 0.0
	if s.Progress != nil {
		progress = *s.Progress
	}
	if !r.started || s.Seq < r.head || progress < r.progress || s.Attempt < r.attempt || !next.is(s.ID) {
		return false, r
	}
	next.head, next.progress, next.attempt = s.Seq, progress, s.Attempt
	switch {
	case !s.Status.Active():
		return s.Status == r.ended, next
	case r.ended != 0:
		return false, r
	case s.Runner == "":
		next.vacancy = vacant
		return r.vacancy != filled, next
	case s.Runner == r.runner && r.vacancy != vacant:
		if r.fence != 0 {
			next.vacancy = filled
		}
		return true, next
	}
	next.runner, next.fence, next.vacancy = s.Runner, 0, doubtful
	return r.vacancy != filled, next
}

// stored checks what is stored of the action in the end. A runner that has left has handed its action over.
func (r resumable) stored(o *operation) (bool, resumable) {
	if len(o.Seen) == 0 {
		return !r.started, r
	}
	s := &o.Seen[0]
	ok, next := r.seen(s)
	switch {
	case !ok, next.vacancy != vacant && r.ended == 0 && o.left:
		return false, r
	case found(s.Saved) != r.place:
		return false, r
	case next.vacancy == vacant, next.fence == 0:
		return s.Fence >= r.claimed, next
	}
	return s.Fence == r.fence || s.Fence > r.fence && r.vacancy == doubtful, next // the same runner may have come again
}

// takeoverRules returns the model of histories with operations. Actions don't affect each other, except that the seqs of
// all changes have one order, which narrow checks.
func takeoverRules(all []operation) rules {
	var titles []string
	known := map[string]bool{}
	for i := range all {
		if title := all[i].Title; !known[title] {
			known[title] = true
			titles = append(titles, title)
		}
	}
	seed := maphash.MakeSeed()
	return rules{parts: titles, Model: porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			parts := map[string][]porcupine.Operation{}
			for _, h := range history {
				title := h.Input.(*operation).Title
				parts[title] = append(parts[title], h)
			}
			split := make([][]porcupine.Operation, len(titles))
			for i, title := range titles {
				split[i] = parts[title]
			}
			return split
		},
		Init:              func() any { return resumable{} },
		Step:              func(state, input, _ any) (bool, any) { return state.(resumable).step(input.(*operation)) },
		Hash:              func(state any) uint64 { return maphash.Comparable(seed, state.(resumable)) },
		DescribeOperation: func(input, _ any) string { return input.(*operation).String() },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}}
}
