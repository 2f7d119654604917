package linear

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kettubot/kapi"
)

// writes returns the seq that the operation is known to have given to its change, 0 if it made
// none or none is known.
func (o *operation) writes() uint64 {
	switch {
	case o.Outcome != fine:
		return 0
	case o.Kind == start:
		return o.Fence
	case o.Kind == dies, o.Kind == notRun:
		return o.seq
	case len(o.Seen) == 0:
		return 0
	case o.Kind == dismiss, o.Kind == report && o.State != nil && o.Seen[0].State == *o.State:
		return o.Seen[0].Seq // no other report says the same
	}
	return 0
}

// reads returns the highest seq that the answer shows: the store had come so far.
func (o *operation) reads() (seq uint64) {
	for i := range o.Seen {
		seq = max(seq, o.Seen[i].Seq)
	}
	return max(seq, o.writes())
}

// narrow makes the times between which the operations happened as short as is known. A change
// is before every other that has a higher seq, and before every sight of such a one; what was
// seen to have happened, has before that was seen. Nothing is assumed by this that the model
// would not ask for, but the search for an order gets short. The error says which two
// operations contradict it.
func narrow(all []operation) error {
	narrowByEvidence(all)
	bySeq := make([]*operation, 0, len(all))
	for i := range all {
		if all[i].reads() > 0 {
			bySeq = append(bySeq, &all[i])
		}
	}
	// Of one seq, the change comes before those who only saw it.
	slices.SortStableFunc(bySeq, func(a, b *operation) int {
		if c := cmp.Compare(a.reads(), b.reads()); c != 0 {
			return c
		}
		return cmp.Compare(b.writes(), a.writes())
	})
	latest, earliest := int64(0), int64(math.MaxInt64)
	for _, o := range bySeq {
		o.from = max(o.from, latest)
		if o.writes() > 0 {
			latest = o.from
		}
	}
	for _, o := range slices.Backward(bySeq) {
		if o.writes() > 0 {
			o.to = min(o.to, earliest)
		}
		earliest = min(earliest, o.to)
	}
	for i := range all {
		if o := &all[i]; o.from > o.to {
			return fmt.Errorf("the seqs contradict the times: %s", o)
		}
	}
	return nil
}

// narrowByEvidence looks at what others saw of an operation whose end nobody was told.
func narrowByEvidence(all []operation) {
	for i := range all {
		o := &all[i]
		if o.to != forever || o.Kind == start || o.Kind == report && o.Handle {
			continue // the seq of a start says it all; what a handle says it may say twice
		}
		for j := range all {
			saw := &all[j]
			for k := range saw.Seen {
				if s := &saw.Seen[k]; s.Title == o.Title {
					o.evidence(saw, s)
				}
			}
		}
	}
}

// evidence takes into account that another operation saw the action.
func (o *operation) evidence(saw *operation, s *sight) {
	switch o.Kind {
	case dies, notRun:
		if s.Status <= kapi.StatusImpacted {
			o.from = max(o.from, saw.from)
		} else {
			o.to = min(o.to, saw.to)
		}
	case end: // may say what a report has said before it
		if s.Status > kapi.StatusImpacted && o.State != nil && *o.State != "" && s.State == *o.State {
			o.to = min(o.to, saw.to)
		}
	case report:
		if o.State != nil && *o.State != "" && (s.State == *o.State || strings.HasSuffix(s.State, lastSaid+*o.State)) {
			o.to = min(o.to, saw.to)
		}
	}
}
