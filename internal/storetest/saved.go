package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// checkpoint returns a named checkpoint of an action; its data is nil if text is "".
func checkpoint(action, name string, version int, text string) store.Saved {
	s := store.Saved{Action: action, Name: name, Version: version}
	if text != "" {
		s.Data = []byte(text)
	}
	return s
}

// wantSaved checks what is saved for an action.
func wantSaved(t *testing.T, s store.Store, action string, want ...store.Saved) {
	t.Helper()
	got, err := s.Saved(within(t), action)
	if err != nil {
		t.Fatalf("Saved: %v", err)
	}
	byName := func(a, b store.Saved) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(got, byName)
	slices.SortFunc(want, byName)
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("saved for %s is\n\t%+v\nwant\n\t%+v", action, got, want)
	}
}

// wantMarks checks the marks that full and light batches load.
func wantMarks(t *testing.T, s store.Store, want map[string]store.CheckpointMark, actions ...string) {
	t.Helper()
	for _, light := range []bool{false, true} {
		got := load(t, s, store.Batch{Since: snapshot(t, s).Seq, Light: light, Marks: actions}).Marks
		if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("the marks of %v (light: %v) are %v, want %v", actions, light, got, want)
		}
	}
	now := store.Batch{Light: true, Marks: actions}
	got := load(t, s, store.Batch{Light: true, Again: func() store.Batch { return now }}).Marks
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("the marks of %v, wanted late, are %v, want %v", actions, got, want)
	}
}

// testSaved: what is saved is there for every handle when the commit returns, takes no seq, and is counted.
func testSaved(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	insert(t, stores[0], bare("a"), bare("b"))
	before := feed(t, stores[1], 0)
	wantSaved(t, stores[0], "a")
	wantMarks(t, stores[0], nil)
	wantMarks(t, stores[0], nil, "a", "never heard of")
	arguments := checkpoint("a", store.ArgumentsName, 0, `{"slots":[1,2]}`)
	one, two := checkpoint("a", "", 1, `"one"`), checkpoint("a", "Ünicode 'n\"me", 1, `null`)
	mustCommit(t, stores[0], batch{saved: []store.Saved{arguments, one, two, checkpoint("b", "", 7, `0`)}})
	wantSaved(t, stores[1], "a", arguments, one, two)
	wantMarks(t, stores[1], map[string]store.CheckpointMark{"a": {Saves: 2, Version: 1}}, "a", "c")
	one = checkpoint("a", "", 2, `"another"`)
	mustCommit(t, stores[1], batch{saved: []store.Saved{checkpoint("a", "", 1, `"passed over"`), one, checkpoint("a", two.Name, 3, "")}})
	wantSaved(t, stores[0], "a", arguments, one)
	mustCommit(t, stores[0], batch{saved: []store.Saved{checkpoint("a", "never saved", 2, "")}})
	wantSaved(t, stores[1], "a", arguments, one)
	wantSaved(t, stores[1], "b", checkpoint("b", "", 7, `0`))
	wantMarks(t, stores[1], map[string]store.CheckpointMark{"a": {Saves: 6, Version: 2}, "b": {Saves: 1, Version: 7}}, "b", "a")
	// Light transactions save, too.
	err := stores[0].Commit(within(t), store.Batch{Light: true}, func(store.Loaded) (store.Writes, error) {
		return store.Writes{Saved: []store.Saved{checkpoint("b", "", 8, `1`)}}, nil
	})
	if err != nil {
		t.Errorf("a light commit: %v", err)
	}
	wantSaved(t, stores[1], "b", checkpoint("b", "", 8, `1`))
	if after := feed(t, stores[0], 0); after.Head != before.Head {
		t.Errorf("checkpoints moved the head from %+v to %+v", before.Head, after.Head)
	}
}

// testSavedBig: large values, many in one transaction, are kept byte by byte.
func testSavedBig(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	insert(t, stores[0], bare("a"))
	random := rand.New(rand.NewPCG(1, 2))
	var saved []store.Saved
	for i := range 17 {
		data := make([]byte, 256<<10)
		for at := range data {
			data[at] = byte(random.Uint32())
		}
		saved = append(saved, store.Saved{Action: "a", Name: fmt.Sprintf("part %02d", i), Version: i, Data: data})
	}
	mustCommit(t, stores[0], batch{saved: saved})
	for _, want := range saved {
		got, err := stores[1].Saved(within(t), "a")
		if err != nil || len(got) != len(saved) {
			t.Fatalf("%d saved, %v", len(got), err)
		}
		if i := slices.IndexFunc(got, func(s store.Saved) bool { return s.Name == want.Name }); i < 0 || !bytes.Equal(got[i].Data, want.Data) {
			t.Errorf("%q differs", want.Name)
		}
	}
	wantMarks(t, stores[1], map[string]store.CheckpointMark{"a": {Saves: 17, Version: 16}}, "a")
}

// testSavedWithStart: what is saved with other changes is kept if and only if they are.
func testSavedWithStart(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	arguments := checkpoint("a", store.ArgumentsName, 0, `[]`)
	mustCommit(t, stores[0], batch{insert: []store.Record{bare("a")}, claim: []store.Claim{{Key: "k", Action: "a"}}, saved: []store.Saved{arguments}})
	wantSaved(t, stores[1], "a", arguments)
	late := checkpoint("b", store.ArgumentsName, 0, `{}`)
	_, err := commit(within(t), stores[0], batch{
		insert: []store.Record{bare("b")}, claim: []store.Claim{{Key: "k", Action: "b"}}, saved: []store.Saved{late, checkpoint("a", "", 1, `1`)},
	})
	if !errors.Is(err, store.ErrKeyTaken) {
		t.Errorf("a held key was claimed: %v", err)
	}
	refusal := errors.New("decide refuses")
	err = stores[0].Commit(within(t), store.Batch{}, func(l store.Loaded) (store.Writes, error) {
		return store.Writes{Head: l.Seq, Saved: []store.Saved{late}}, refusal
	})
	if !errors.Is(err, refusal) {
		t.Errorf("Commit returned %v", err)
	}
	wantSaved(t, stores[1], "a", arguments)
	wantSaved(t, stores[1], "b")
	wantMarks(t, stores[1], nil, "a", "b")
}

// testMoves: an action that continues another gets all that was saved for it, before anything is saved for it itself.
func testMoves(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	first := insert(t, stores[0], bare("failed"), bare("other"))
	arguments, one, two := checkpoint("failed", store.ArgumentsName, 0, `[]`), checkpoint("failed", "one", 1, `1`), checkpoint("failed", "two", 1, `2`)
	other := checkpoint("other", "", 1, `3`)
	mustCommit(t, stores[0], batch{saved: []store.Saved{arguments, one, two, other}})
	again := checkpoint("next", "two", 2, `22`)
	mustCommit(t, stores[1], batch{
		insert: []store.Record{bare("next")}, update: []store.Record{ended(first[0], kapi.StatusAborted, 1)},
		moves: []store.Move{{From: "failed", To: "next"}}, disposed: []string{"failed"}, saved: []store.Saved{again},
	})
	arguments.Action, one.Action = "next", "next"
	wantSaved(t, stores[0], "next", arguments, one, again)
	wantSaved(t, stores[0], "failed")
	wantSaved(t, stores[0], "other", other)
	wantMarks(t, stores[0], map[string]store.CheckpointMark{"next": {Saves: 3, Version: 2}}, "next", "failed")
}

// testDisposed: what is saved for an action goes in the transaction in which the action ends.
func testDisposed(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	first := insert(t, stores[0], bare("a"), bare("b"), bare("c"))
	other := checkpoint("b", "", 1, `2`)
	mustCommit(t, stores[0], batch{saved: []store.Saved{checkpoint("a", store.ArgumentsName, 0, `[]`), checkpoint("a", "", 1, `1`), other, checkpoint("c", "", 1, `3`)}})
	end := batch{
		update:   []store.Record{ended(first[0], kapi.StatusCompleted, 1), ended(first[2], kapi.StatusAborted, 1)},
		disposed: []string{"a", "c", "nothing was saved for this one"},
	}
	refused := end
	refused.claim = []store.Claim{{Key: "k", Action: "b"}, {Key: "k", Action: "b"}}
	if _, err := commit(within(t), stores[0], refused); !errors.Is(err, store.ErrKeyTaken) {
		t.Errorf("a key was claimed twice: %v", err)
	}
	wantSaved(t, stores[0], "c", checkpoint("c", "", 1, `3`))
	mustCommit(t, stores[1], end)
	for _, id := range []string{"a", "c"} {
		wantSaved(t, stores[0], id)
	}
	wantSaved(t, stores[0], "b", other)
	wantMarks(t, stores[0], map[string]store.CheckpointMark{"b": {Saves: 1, Version: 1}}, "a", "b", "c")
}

// testLeft: an older build may dismiss an action without knowing what is saved for it, or that it has a turn. A purge
// that deletes its tombstone deletes these, too.
func testLeft(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	turn, kept := store.TurnKey("reshard", 1), store.TurnKey("reshard", 2)
	first := mustCommit(t, stores[0], batch{
		insert: []store.Record{bare("a"), bare("b")},
		claim:  []store.Claim{{Key: turn, Action: "a"}, {Key: kept, Action: "b"}, {Key: "k", Action: "a"}},
		saved:  []store.Saved{checkpoint("a", "", 1, `1`), checkpoint("b", "", 1, `2`)},
	})
	mustCommit(t, stores[0], batch{update: []store.Record{ended(first[0], kapi.StatusAborted, 10)}, free: []string{"k"}})
	purge(t, stores[1], 20, 10, 1)
	wantSaved(t, stores[0], "a")
	wantSaved(t, stores[0], "b", checkpoint("b", "", 1, `2`))
	wantMarks(t, stores[0], map[string]store.CheckpointMark{"b": {Saves: 1, Version: 1}}, "a", "b")
	for _, c := range []struct {
		turn string
		want error
	}{{turn, nil}, {kept, store.ErrKeyTaken}} {
		err := stores[0].Commit(within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
			next := batch{insert: []store.Record{bare("next " + c.turn)}, claim: []store.Claim{{Key: c.turn, Action: "c"}}}
			return next.number(l.Seq), nil
		})
		if !errors.Is(err, c.want) {
			t.Errorf("after the purge, a claim of %q: %v, want %v", c.turn, err, c.want)
		}
	}
}
