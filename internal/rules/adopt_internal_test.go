package rules

import (
	"errors"
	"slices"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

func recorded(t *testing.T, id string, keys ...string) store.RecordedStart {
	t.Helper()
	start, err := store.Recorded(&store.Record{
		Action:           kapi.Action{ID: id, Title: "T" + id, Description: "d", Keys: keys, Runner: &kapi.Runner{ID: "r", Host: "h", PID: 7}},
		ReleaseOnFailure: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return start
}

// transact applies a batch in a transaction that finds recorded starts, and keys that other transactions
// claim (busy).
func (l *line) transact(starts []store.RecordedStart, busy []string, batch ...*wish) store.Writes {
	l.t.Helper()
	claimed := map[string]bool{}
	for _, key := range busy {
		claimed[key] = true
	}
	pl := NewPlan(l.world, l.head(), claimed, now, Limits{})
	for _, s := range starts {
		if err := pl.Adopt(s); err != nil {
			l.t.Fatal(err)
		}
	}
	pl.addAll(batch...)
	w, records := pl.Writes()
	l.world.apply(records)
	l.seq = w.Head
	return w
}

func TestAdopt(t *testing.T) {
	l := newLine(t)
	late := starting("late", "y")
	w := l.transact([]store.RecordedStart{recorded(t, "a", "x", "y")}, nil, late)
	l.want("a pending x,y/")
	if !slices.Equal(w.Adopted, []string{"a"}) || len(w.Insert) != 1 || len(w.Claim) != 0 || len(w.Free) != 0 {
		t.Errorf("keys that the recorded start holds already must not be claimed again: %+v", w)
	}
	r := w.Insert[0]
	if r.Seq != 11 || r.Fence != 11 || r.CreatedAt != now || r.Title != "Ta" || r.Description != "d" || !r.ReleaseOnFailure || r.Runner.PID != 7 {
		t.Errorf("adopted: %+v", r)
	}
	var held *kapi.HeldError
	if !errors.As(late.Err, &held) || held.Holder.ID != "a" {
		t.Errorf("a start in the same batch: %v, want that a holds it", late.Err)
	}
	begin := l.report("a", kapi.StatusRunning)
	if l.commit(begin); begin.Err != nil {
		t.Fatal(begin.Err)
	}
	l.want("a running x,y/")
}

// An action that is adopted and ends in one batch frees its keys in the store.
func TestAdoptAndEnd(t *testing.T) {
	l := newLine(t)
	end := reporting("a", Report{Fence: 11, Status: kapi.StatusFailed})
	w := l.transact([]store.RecordedStart{recorded(t, "a", "x")}, nil, end)
	if end.Err != nil || !slices.Equal(w.Free, []string{"x"}) || len(w.Claim) != 0 {
		t.Errorf("%v: %+v", end.Err, w)
	}
	l.want()
}

func TestAdoptGarbage(t *testing.T) {
	pl := plannedOn(aWorld(), store.Loaded{})
	if err := pl.Adopt(store.RecordedStart{ID: "a", Data: []byte("{")}); err == nil || len(pl.adopted) != 0 {
		t.Errorf("err = %v, adopted %v", err, pl.adopted)
	}
}

// A refusal for a key that an open transaction claims names no holder.
func TestBusyKey(t *testing.T) {
	l := newLine(t)
	plain, waiting, other := starting("plain", "x"), l.queueing("waiting", "x"), starting("other", "y")
	l.transact(nil, []string{"x"}, plain, waiting, other)
	var busy *store.BusyError
	if !errors.As(plain.Err, &busy) || busy.Keys[0] != "x" || !errors.Is(plain.Err, kapi.ErrUnavailable) {
		t.Errorf("a start: %v", plain.Err)
	}
	l.want("other running y/", "waiting pending /x")
	if state := l.get("waiting").State; state != "waits for a transaction that claims the key" {
		t.Errorf("state %q", state)
	}
	l.transact(nil, []string{"x"}, nudge("x"))
	l.want("other running y/", "waiting pending /x")
	l.transact(nil, nil, nudge("x"))
	l.want("other running y/", "waiting pending x/")
}
