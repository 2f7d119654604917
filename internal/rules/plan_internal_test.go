package rules

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A world is a Picture for tests.
type world struct{ records map[string]store.Record }

func aWorld(records ...store.Record) *world {
	w := &world{map[string]store.Record{}}
	w.apply(records)
	return w
}

func (w *world) apply(records []store.Record) {
	for _, r := range records {
		if w.records[r.ID] = r; !r.Status.Ongoing() {
			delete(w.records, r.ID)
		}
	}
}

func (w *world) Get(id string) (store.Record, bool) {
	r, ok := w.records[id]
	return r, ok
}

func (w *world) Holder(key string) string { return w.keys()[key] }

func (w *world) Waits() bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(w.records)), isWaiting)
}

func isWaiting(r store.Record) bool { return r.Waiting() }

func (w *world) Queue(key string) (waiting []*store.Record) {
	for _, r := range w.records {
		if r.Waiting() && slices.Contains(r.Waits, key) {
			waiting = append(waiting, &r)
		}
	}
	return waiting
}

// keys returns the id of each key's holder.
func (w *world) keys() map[string]string {
	keys := map[string]string{}
	for _, r := range w.records {
		for _, key := range r.Holds() {
			keys[key] = r.ID
		}
	}
	return keys
}

func held(id string, s kapi.Status, fence uint64, keys ...string) store.Record {
	r := aRecord(s)
	r.ID, r.Fence, r.Keys = id, fence, keys
	return r
}

// A wish is a change with its outcome.
type wish struct {
	Change
	Outcome
}

func starting(id string, keys ...string) *wish {
	return &wish{Change: Change{Kind: KindStart, Action: &store.Record{Action: kapi.Action{
		ID: id, Title: "t", Status: kapi.StatusRunning, Keys: keys, Runner: &kapi.Runner{ID: "r"},
	}}}}
}

func reporting(id string, rep Report) *wish {
	return &wish{Change: Change{Kind: KindReport, ID: id, Report: rep}}
}

func dismissing(id string) *wish { return &wish{Change: Change{Kind: KindDismiss, ID: id}} }

func cancelling(id string) *wish { return &wish{Change: Change{Kind: KindCancel, ID: id, By: "x"}} }

func judged(id string, v Verdict) *wish {
	return &wish{Change: Change{Kind: KindVerdict, ID: id, Verdict: v}}
}

func nudge(stalled ...string) *wish { return &wish{Change: Change{Kind: KindNudge, Stalled: stalled}} }

// addAll applies the changes of a batch. The outcome of a change that altered nothing is errUnchanged.
func (pl *Plan) addAll(batch ...*wish) {
	for _, c := range batch {
		if c.Outcome = pl.Add(&c.Change); c.Err == nil && !c.Changed {
			c.Err = errUnchanged
		}
	}
}

func plannedOn(w Picture, l store.Loaded) *Plan { return NewPlan(w, l, nil, now, Limits{}) }

func planned(w *world, l store.Loaded, batch ...*wish) (store.Writes, []store.Record) {
	l.Epoch, l.Seq = "e", 10
	pl := plannedOn(w, l)
	pl.addAll(batch...)
	return pl.Writes()
}

func TestPlanOrder(t *testing.T) {
	batch := []*wish{starting("a", "ka"), starting("b"), reporting("a", Report{Fence: 11, State: new("x")})}
	w, records := planned(aWorld(), store.Loaded{}, batch...)
	if w.Head != 13 || len(records) != 2 || records[0].ID != "b" || records[1].ID != "a" {
		t.Fatalf("head %d, records %+v", w.Head, records)
	}
	if a := records[1]; a.Seq != 13 || a.Fence != 11 || a.State != "x" || a.CreatedAt != now || a.StartedAt != now || a.Runner.HeardAt != now {
		t.Errorf("a is %+v", a)
	}
	if batch[0].Record.Seq != 11 || batch[1].Record.Seq != 12 {
		t.Errorf("answers of seq %d and %d", batch[0].Record.Seq, batch[1].Record.Seq)
	}
	// A record that was added in this batch is inserted, even if it was changed afterwards.
	if len(w.Insert) != 2 || len(w.Update) != 0 || !slices.Equal(w.Claim, []store.Claim{{Key: "ka", Action: "a"}}) || w.Free != nil {
		t.Errorf("writes %+v", w)
	}
}

func TestPlanKeyHandOver(t *testing.T) {
	end := reporting("a", Report{Fence: 7, Status: kapi.StatusCompleted})
	early, late, third := starting("b", "k"), starting("c", "k"), starting("d", "k")
	w, _ := planned(aWorld(held("a", kapi.StatusRunning, 7, "k")), store.Loaded{}, early, end, late, third)
	if end.Err != nil || late.Err != nil {
		t.Fatalf("end %v, start after it %v", end.Err, late.Err)
	}
	checkHeld(t, early.Err, "k", "a")
	checkHeld(t, third.Err, "k", "c")
	if !slices.Equal(w.Free, []string{"k"}) || !slices.Equal(w.Claim, []store.Claim{{Key: "k", Action: "c"}}) {
		t.Errorf("freed %v, claimed %v", w.Free, w.Claim)
	}
	if w.Head != 12 {
		t.Errorf("head %d: a refused change took a seq", w.Head)
	}
}

func TestPlanAllKeysOrNone(t *testing.T) {
	c := starting("b", "free", "k", "free2")
	w, records := planned(aWorld(held("a", kapi.StatusRunning, 7, "k")), store.Loaded{}, c)
	checkHeld(t, c.Err, "k", "a")
	if len(records) != 0 || len(w.Claim) != 0 || w.Head != 10 {
		t.Errorf("a refused start writes %+v", w)
	}
}

func checkHeld(t *testing.T, err error, key, holder string) *kapi.HeldError {
	t.Helper()
	var he *kapi.HeldError
	if !errors.As(err, &he) || he.Key != key || he.Holder.ID != holder {
		t.Fatalf("%v, want a HeldError of %s by %s", err, key, holder)
	}
	return he
}

func TestPlanDismissFailed(t *testing.T) {
	known := held("known", kapi.StatusFailed, 3, "k1", "k2")
	late := held("late", kapi.StatusFailed, 4, "k3")
	late.LateEnd = true
	silent := held("silent", kapi.StatusFailed, 5, "k4")
	silent.NotProvenDead = true
	v := aWorld(known, late, silent, held("busy", kapi.StatusImpacted, 6, "k5"))

	for _, tt := range []struct {
		name      string
		keys      []string
		declared  bool
		dismissed []string
		key       string // held
		unproven  bool
	}{
		{"not declared", []string{"k1"}, false, nil, "k1", false},
		{"one with two keys", []string{"k2", "k1"}, true, []string{"known"}, "", false},
		{"two", []string{"k3", "k0", "k1"}, true, []string{"late", "known"}, "", false},
		{"none if one is busy", []string{"k1", "k5"}, true, nil, "k5", false},
		{"none if one is not proven dead", []string{"k1", "k4"}, true, nil, "k4", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := starting("new", tt.keys...)
			c.DismissFailed = tt.declared
			w, records := planned(v, store.Loaded{}, c)
			var ids []string
			for _, a := range c.Dismissed {
				ids = append(ids, a.ID)
				if a.Status != kapi.StatusFailed || a.State == "" || len(a.Keys) == 0 {
					t.Errorf("%s is not given as it was before: %+v", a.ID, a)
				}
			}
			if !slices.Equal(ids, tt.dismissed) {
				t.Errorf("dismissed %v, want %v", ids, tt.dismissed)
			}
			if tt.key != "" {
				if he := checkHeld(t, c.Err, tt.key, v.Holder(tt.key)); he.Holder.NotProvenDead != tt.unproven {
					t.Errorf("not proven dead: %v", he.Holder.NotProvenDead)
				}
				if len(records) != 0 {
					t.Errorf("a refused start changes %+v", records)
				}
				return
			}
			if c.Err != nil || len(w.Update) != len(tt.dismissed) || len(w.Claim) != len(tt.keys) {
				t.Errorf("%v, writes %+v", c.Err, w)
			}
			for _, r := range w.Update {
				if r.Status != kapi.StatusAborted {
					t.Errorf("%s is %s", r.ID, r.Status)
				}
			}
		})
	}
}

// A verdict applies only if the runner was not heard since it was judged.
func TestPlanRechecksBeat(t *testing.T) {
	for _, tt := range []struct {
		name   string
		runner string
		beats  map[string]uint64
		want   error
	}{
		{"silent still", "r", map[string]uint64{"r": 4}, nil},
		{"heard again", "r", map[string]uint64{"r": 5}, errUnchanged},
		{"forgotten", "r", nil, errUnchanged},
		{"another runner's by now", "q", map[string]uint64{"q": 4}, errUnchanged},
	} {
		c := judged("a", Verdict{Failure: "died", ended: true})
		c.Runner, c.Beat = tt.runner, 4
		_, records := planned(aWorld(held("a", kapi.StatusRunning, 7, "k")), store.Loaded{Beats: tt.beats}, c)
		if !errors.Is(c.Err, tt.want) || (len(records) == 1) != (tt.want == nil) {
			t.Errorf("%s: %v, %d records", tt.name, c.Err, len(records))
		}
	}
}

func TestPlanTombstones(t *testing.T) {
	done := held("done", kapi.StatusCompleted, 7)
	again := reporting("done", Report{Fence: 7, Status: kapi.StatusCompleted})
	stale := reporting("done", Report{Fence: 6, Status: kapi.StatusCompleted})
	dismiss, never := dismissing("done"), dismissing("never")
	_, records := planned(aWorld(), store.Loaded{Found: []store.Record{done}}, again, stale, dismiss, never)
	for _, tt := range []struct {
		c    *wish
		want error
	}{{again, errUnchanged}, {stale, kapi.ErrStaleFence}, {dismiss, kapi.ErrUnknown}, {never, kapi.ErrUnknown}} {
		if !errors.Is(tt.c.Err, tt.want) {
			t.Errorf("%v, want %v", tt.c.Err, tt.want)
		}
	}
	if len(records) != 0 {
		t.Errorf("a disposed action was changed: %+v", records)
	}
}

// For any batch: the view and the store agree on which action holds which key, no two actions share
// one, and every change has a seq of its own.
func TestPlanKeepsKeysUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := aWorld()
		stored := map[string]string{} // the store's table of keys
		seq, ids := uint64(10), []string{"none"}
		for round := range rapid.IntRange(1, 6).Draw(t, "rounds") {
			pl := plannedOn(v, store.Loaded{Page: store.Page{Head: store.Head{Epoch: "e", Seq: seq}}})
			for i := range rapid.IntRange(1, 8).Draw(t, "batch") {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				fence := uint64(0)
				if r := pl.lookup(id); r != nil {
					fence = r.Fence
				}
				c := rapid.SampledFrom([]func() *wish{
					func() *wish {
						keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 3, rapid.ID).Draw(t, "keys")
						c := starting(fmt.Sprintf("%d-%d", round, i), keys...)
						c.Action.ReleaseOnFailure = rapid.Bool().Draw(t, "release")
						c.DismissFailed = rapid.Bool().Draw(t, "dismiss failed")
						ids = append(ids, c.Action.ID)
						return c
					},
					func() *wish { return reporting(id, Report{Fence: fence, Status: kapi.StatusCompleted}) },
					func() *wish { return reporting(id, Report{Fence: fence, Status: kapi.StatusFailed}) },
					func() *wish { return dismissing(id) },
				}).Draw(t, "change")()
				pl.addAll(c)
			}
			w, records := pl.Writes()
			for _, key := range w.Free {
				if stored[key] == "" {
					t.Fatalf("key %s is freed, but no action holds it", key)
				}
				delete(stored, key)
			}
			for _, claim := range w.Claim {
				if other := stored[claim.Key]; other != "" {
					t.Fatalf("key %s of %s is claimed by %s", claim.Key, other, claim.Action)
				}
				stored[claim.Key] = claim.Action
			}
			for _, r := range records {
				if r.Seq <= seq {
					t.Fatalf("seq %d after %d", r.Seq, seq)
				}
				seq = r.Seq
			}
			if w.Head != seq {
				t.Fatalf("head %d, last seq %d", w.Head, seq)
			}
			v.apply(records)
			if !reflect.DeepEqual(v.keys(), stored) {
				t.Fatalf("the picture holds %v, the store %v", v.keys(), stored)
			}
		}
	})
}
