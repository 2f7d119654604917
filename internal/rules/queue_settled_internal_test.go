package rules

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// drawChange draws a change of one of the actions with these ids, or a start, which gets the id next.
func drawChange(t *rapid.T, pl *Plan, ids []string, next string) *Change {
	keys := func(most int) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, most, rapid.ID).Draw(t, "keys")
	}
	kind := rapid.SampledFrom([]string{
		"start", "start", "start", "start", "start", "begin", "begin", "complete", "complete", "complete", "fail", "give up", "cancel", "dismiss", "restore", "silent", "dead", "nudge",
	}).Draw(t, "kind")
	switch {
	case kind == "nudge":
		return &Change{Kind: KindNudge, Wants: keys(2)}
	case kind == "start" || len(ids) == 0:
		c := &starting(next, keys(3)...).Change
		c.Action.Runner = &kapi.Runner{ID: "runner of " + next, PID: 5}
		c.Wait = rapid.IntRange(0, 9).Draw(t, "wait") > 0
		c.DismissFailed = rapid.Bool().Draw(t, "dismiss failed")
		c.Action.ReleaseOnFailure = rapid.Bool().Draw(t, "release")
		if len(ids) > 0 && rapid.Bool().Draw(t, "is within") {
			c.Within = []string{rapid.SampledFrom(ids).Draw(t, "within")}
		}
		return c
	}
	id := rapid.SampledFrom(ids).Draw(t, "id")
	r := pl.lookup(id)
	report := func(s kapi.Status) *Change { return &reporting(id, Report{Fence: r.Fence, Status: s}).Change }
	judge := func(ev Evidence) *Change {
		ev.Host, ev.PID, ev.Silent, ev.Lease, ev.GiveUp = "h", 5, 20*time.Second, 15*time.Second, 2*time.Minute
		return &judged(id, Judge(r, ev)).Change
	}
	switch kind {
	case "begin":
		return report(kapi.StatusRunning)
	case "complete":
		return report(kapi.StatusCompleted)
	case "fail":
		c := report(kapi.StatusFailed)
		c.Report.NotProvenDead = rapid.Bool().Draw(t, "not proven dead")
		return c
	case "give up":
		return &Change{Kind: KindGiveUp, ID: id, By: "x"}
	case "cancel":
		return &cancelling(id).Change
	case "dismiss":
		return &dismissing(id).Change
	case "restore":
		return &Change{Kind: KindRestore, ID: id, Fence: r.Fence}
	case "silent":
		return judge(Evidence{})
	default:
		return judge(Evidence{Life: LifeGone})
	}
}

// For any batches: all keys that can be granted are granted in the transaction that frees them, in turn, and a light
// peer, which has read only what its changes concern and what its plan then asks for, makes the same plan.
func TestQueueIsSettled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, seq := aWorld(), uint64(10)
		for round := range rapid.IntRange(1, 25).Draw(t, "rounds") {
			l := store.Loaded{Page: store.Page{Head: store.Head{Epoch: "e", Seq: seq}}}
			pl := plannedOn(w, l)
			var changes []*Change
			var outcomes, named []string
			for i := range rapid.IntRange(1, 4).Draw(t, "batch") {
				ids := slices.Collect(maps.Keys(w.records))
				for id := range pl.touched {
					ids = append(ids, id)
				}
				slices.Sort(ids)
				c := drawChange(t, pl, slices.Compact(ids), fmt.Sprintf("%d-%d", round, i))
				o := pl.Add(c)
				changes, outcomes = append(changes, c), append(outcomes, fmt.Sprint(o.Err, o.Changed))
				if _, ok := w.records[c.ID]; ok {
					named = append(named, c.ID)
				}
			}
			writes, records := pl.Writes()
			planLightly(t, w, l, changes, named, func(lightOutcomes []string, lightRecords []store.Record) {
				if !slices.Equal(lightOutcomes, outcomes) || !reflect.DeepEqual(lightRecords, records) {
					t.Fatalf("the plan of a light peer differs:\n%q\n%+v\n%q\n%+v", lightOutcomes, lightRecords, outcomes, records)
				}
			})
			before := maps.Clone(w.records)
			w.apply(records)
			seq = writes.Head
			checkSettled(t, w, seq)
			for _, r := range records {
				if was := before[r.ID]; was.Waiting() && len(r.Keys) > 0 {
					checkInTurn(t, w, &r)
				}
			}
		}
	})
}

// planLightly makes the plan with what a light peer has read, again until it asks for no more.
func planLightly(t *rapid.T, w *world, l store.Loaded, changes []*Change, named []string, check func([]string, []store.Record)) {
	var keys, found []string
	for range 10 {
		loaded := w.load(l, slices.Concat(named, found), keys)
		loaded.NoQueue = !w.Waits()
		part := NewPartial(&loaded)
		more := slices.DeleteFunc(part.Continued(), func(id string) bool { return slices.Contains(found, id) })
		if found = append(found, more...); len(more) > 0 {
			continue
		}
		pl := plannedOn(part, loaded)
		var outcomes []string
		for _, c := range changes {
			o := pl.Add(c)
			outcomes = append(outcomes, fmt.Sprint(o.Err, o.Changed))
		}
		_, records := pl.Writes()
		if missing := part.Missing(); len(missing) > 0 {
			keys = append(keys, missing...)
			continue
		}
		check(outcomes, records)
		return
	}
	t.Fatalf("the plan keeps asking for more keys: %q", keys)
}

// checkSettled fails the test if a waiter could get its keys now.
func checkSettled(t *rapid.T, w *world, seq uint64) {
	waiters := slices.SortedFunc(maps.Values(w.records), func(a, b store.Record) int { return byTicket(&a, &b) })
	wanted := map[string]bool{}
	for _, r := range waiters {
		if !r.Eligible() {
			continue
		}
		taken := func(key string) bool {
			holder, held := w.records[w.Holder(key)]
			may := r.DismissFailed && holder.Status == kapi.StatusFailed && !holder.NotProvenDead
			return wanted[key] || held && !may
		}
		if !slices.ContainsFunc(r.Waits, taken) {
			t.Fatalf("at %d, %s still waits for %q", seq, r.ID, r.Waits)
		}
		for _, key := range r.Waits {
			wanted[key] = true
		}
	}
}

// checkInTurn fails the test if an action that has just got its keys has overtaken another one.
func checkInTurn(t *rapid.T, w *world, granted *store.Record) {
	for _, key := range granted.Keys {
		for _, r := range w.Queue(key) {
			if r.Eligible() && r.Ticket < granted.Ticket {
				t.Fatalf("%s got %q before %s, which waits for %q", granted.ID, granted.Keys, r.ID, r.Waits)
			}
		}
	}
}
