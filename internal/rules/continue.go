package rules

import (
	"fmt"
	"slices"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A start may continue a failed action of the same operation. When it gets its keys, it takes over those of the failed
// action, and what is saved for it, and dismisses it, all in one transaction: nobody else can get the keys in between.
// While it waits for others, the failed action stays as it is.

// continuable returns an error if an action can't continue the one that it is to continue, if any.
func (pl *Plan) continuable(r *store.Record) error {
	if r.Defined == nil || r.Defined.Continues == "" {
		return nil
	}
	flaw := func(format string, args ...any) error {
		return &kapi.InvalidError{Field: "continue", Reason: "names " + fmt.Sprintf(format, args...)}
	}
	failed := pl.lookup(r.Defined.Continues)
	switch {
	case failed == nil:
		return kapi.ErrUnknown
	case failed.Defined == nil:
		return flaw("an action that was not started as operation %q", r.Operation)
	case failed.Operation != r.Operation:
		return flaw("an action of operation %q, not %q", failed.Operation, r.Operation)
	case !failed.Status.Ongoing():
		return flaw("an action that is %s", failed.Status)
	case failed.Status != kapi.StatusFailed:
		return flaw("an action that is %s: only a failed one can be continued", failed.Status)
	case failed.NotProvenDead:
		return flaw("an action whose work is not known to have ended")
	}
	return nil
}

// inherit gives an action, which gets its keys now, what it takes over from the one that it continues, and dismisses
// that one, which is returned as it was before. It is nil if there is none.
func (pl *Plan) inherit(r *store.Record) *store.Record {
	if r.Defined == nil || r.Defined.Continues == "" {
		return nil
	}
	failed := *pl.lookup(r.Defined.Continues)
	gone := failed
	if dismiss(&gone, pl.now) != nil {
		return nil // continuable has checked that it can be
	}
	pl.put(gone)
	pl.moves = append(pl.moves, store.Move{From: failed.ID, To: r.ID})
	for i := range pl.saved {
		if pl.saved[i].Action == failed.ID {
			pl.saved[i].Action = r.ID
		}
	}
	define(r, func(d *store.Defined) { d.Origin, d.Continues = failed.Defined.Origin, "" })
	return &failed
}

// inherited reports whether an action has taken over the keys of a failed one, and what was saved for it.
func inherited(r *store.Record) bool {
	return r.Defined != nil && r.Defined.Continues == "" && r.Defined.Origin != r.ID
}

// save notes what is to be saved for an action.
func (pl *Plan) save(action string, saved []store.Saved) {
	for _, s := range saved {
		s.Action = action
		pl.saved = append(pl.saved, s)
	}
}

// savings puts into w what is saved, moved and deleted.
func (pl *Plan) savings(w *store.Writes, records []store.Record) {
	w.Saved, w.Moves = slices.Clone(pl.saved), pl.moves
	for i := range records {
		r := &records[i]
		if r.Defined == nil || r.Status.Ongoing() {
			continue
		}
		w.Saved = slices.DeleteFunc(w.Saved, func(s store.Saved) bool { return s.Action == r.ID })
		if !slices.ContainsFunc(w.Moves, func(m store.Move) bool { return m.From == r.ID }) {
			w.Disposed = append(w.Disposed, r.ID)
		}
	}
}
