package linear

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kettubot/kapi"
)

// writes returns the seq of the change that the operation made, 0 if it made none or the seq isn't
// known.
func (o *operation) writes() uint64 {
	switch {
	case o.Outcome != fine:
		return 0
	case o.Kind == start, o.Kind == begin, o.Kind == claim:
		return o.Fence
	case o.Kind == dies, o.Kind == notRun:
		return o.seq
	case len(o.Seen) == 0:
		return 0
	case o.Kind == dismiss, o.Kind == report && o.State != nil && o.Seen[0].State == *o.State:
		return o.Seen[0].Seq // no other report sets the same state
	}
	return 0
}

// reads returns the highest seq in the answer: the store had reached it.
func (o *operation) reads() (seq uint64) {
	for i := range o.Seen {
		seq = max(seq, o.Seen[i].Seq)
	}
	return max(seq, o.writes())
}

// narrow shortens the times between which the operations happened as far as is known. A change comes
// before every change with a higher seq, and before every sight of one; what was seen happened before
// it was seen. The model demands all of this anyway, but the search becomes shorter. The error names an
// operation that contradicts it.
func narrow(all []operation) error {
	narrowByEvidence(all)
	bySeq := make([]*operation, 0, len(all))
	for i := range all {
		if all[i].reads() > 0 {
			bySeq = append(bySeq, &all[i])
		}
	}
	// For equal seqs, the change comes before the operations that only saw it.
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

// narrowByEvidence uses what others saw of an operation that never returned.
func narrowByEvidence(all []operation) {
	for i := range all {
		o := &all[i]
		if o.to != forever || o.Kind == start || o.Kind == report && o.Handle {
			continue // a start's seq says everything; a handle may send its report twice
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
	case end: // the state may also come from an earlier report
		if s.Status > kapi.StatusImpacted && o.State != nil && *o.State != "" && s.State == *o.State {
			o.to = min(o.to, saw.to)
		}
	case report:
		if o.State != nil && *o.State != "" && (s.State == *o.State || strings.HasSuffix(s.State, lastSaid+*o.State)) {
			o.to = min(o.to, saw.to)
		}
	}
}
