package operation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
)

// A world is what the work of an action has done on the outside. It outlives the runs, and sees what they store.
type world struct {
	t       rapid.TB
	disk    disk
	keys    []int          // of the items, growing
	worked  map[int]int    // how often each item was worked on
	stepped map[string]int // how often each step was run, by the id that it was given
	results []string       // what Step returned, and what was restored
	last    int            // the key that was stored last
	done    bool
	passed  bool // whether the latest run came past the point of its fault
}

func newWorld(t rapid.TB, keys []int) *world {
	return &world{t: t, disk: disk{}, keys: keys, worked: map[int]int{}, stepped: map[string]int{}, last: -1}
}

// saved checks what is written: nothing is stored before it is true, and nothing goes back.
func (w *world) saved(name, value string) {
	if name != "kapi:each:items" {
		return
	}
	var record struct {
		Last *int
		Done bool
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(value))).Decode(&record); err != nil {
		w.t.Fatalf("%s: %v", value, err)
	}
	if record.Last != nil {
		if *record.Last < w.last || w.done {
			w.t.Fatalf("%d was stored after %d (%t)", *record.Last, w.last, w.done)
		}
		w.last = *record.Last
	}
	w.done = record.Done
	for _, key := range w.keys {
		if (key <= w.last || w.done) && w.worked[key] == 0 {
			w.t.Fatalf("%s was stored before item %d", value, key)
		}
	}
}

// A plan is how one run does the work, and what happens to it.
type plan struct {
	fault, at int
	options   operation.EachOptions
	page      int  // how many items the sequence reads at once
	quiet     bool // whether the sequence says nothing when ctx ends
}

// do is one run. It reports whether the work is finished.
func (w *world) do(p plan) bool {
	h := &handle{disk: w.disk, origin: "origin", saved: w.saved, fault: p.fault, at: p.at}
	died, err := h.run(context.Background(), func(ctx context.Context) error { return w.work(ctx, h, operation.Wrap(h), p) })
	w.passed = h.points >= p.at
	switch {
	case !died && err == nil:
		return true
	case p.at == 0 || !w.passed:
		w.t.Fatalf("failed without a fault: %v", err)
	case died != (p.fault == crash),
		p.fault == fail && !errors.Is(err, errFault),
		p.fault == stop && !errors.Is(err, context.Canceled) && !errors.Is(err, kapi.ErrStopped),
		p.fault == lose && !errors.Is(err, context.Canceled) && !errors.Is(err, kapi.ErrLost) && !errors.Is(err, kapi.ErrStaleFence),
		errors.Is(err, kapi.ErrPermanent):
		w.t.Fatalf("fault %d at %d: died %t, %v", p.fault, p.at, died, err)
	}
	return false
}

// work is the operation: a step, items, a checkpoint of its own, and a step with the result of the first.
func (w *world) work(ctx context.Context, faulty *handle, h kapi.OperationHandle, p plan) error {
	step := func(ctx context.Context, id string) (string, error) {
		if err := faulty.point(); err != nil {
			return "", err
		}
		w.stepped[id]++
		return fmt.Sprintf("result %d of %s", w.stepped[id], id), faulty.point()
	}
	first, err := operation.Step(ctx, h, "first", step)
	if err != nil {
		return err
	}
	if err := operation.Each(ctx, h, "items", w.after(faulty, p), func(_ context.Context, key int) error {
		if err := faulty.point(); err != nil {
			return err
		}
		if w.done || key <= w.last {
			w.t.Fatalf("item %d was worked on after %d was stored (%t)", key, w.last, w.done)
		}
		w.worked[key]++
		return faulty.point()
	}, p.options); err != nil {
		return err
	}
	if err := h.Save("items", first); err != nil {
		return err
	}
	var own string
	if _, err := h.Load("items", &own); err != nil {
		return err
	}
	second, err := operation.Step(ctx, h, "second", step)
	w.results = append(w.results, first, own, second)
	return err
}

// after reads the items in pages.
func (w *world) after(faulty *handle, p plan) func(context.Context, *int) iter.Seq2[int, error] {
	return func(ctx context.Context, last *int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			next := 0
			for last != nil && next < len(w.keys) && w.keys[next] <= *last {
				next++
			}
			for next < len(w.keys) {
				if err := faulty.point(); err != nil {
					yield(0, err)
					return
				}
				page := w.keys[next:min(next+p.page, len(w.keys))]
				for _, key := range page {
					if ctx.Err() != nil && p.quiet {
						return
					}
					if !yield(key, nil) {
						return
					}
				}
				next += len(page)
			}
		}
	}
}

// check checks a world in which the work is finished after some runs.
func (w *world) check(runs int) {
	for _, key := range w.keys {
		if n := w.worked[key]; n < 1 || n > runs {
			w.t.Fatalf("item %d was worked on %d times in %d runs", key, n, runs)
		}
	}
	if len(w.stepped) != 2 || len(w.worked) != len(w.keys) || !w.done {
		w.t.Fatalf("steps %v, items %v, done: %t", w.stepped, w.worked, w.done)
	}
	first, second := w.results[len(w.results)-3], w.results[len(w.results)-1]
	before := maps.Clone(w.stepped)
	if !w.do(plan{page: 1}) {
		w.t.Fatal("not finished")
	}
	if again := w.results[len(w.results)-3:]; !maps.Equal(before, w.stepped) || again[0] != first || again[1] != first || again[2] != second {
		w.t.Fatalf("a run more returned %q, not %q and %q; steps %v, not %v", again, first, second, w.stepped, before)
	}
}

// Whatever happens at any point of a run, and at any point of the next: nothing is skipped, and what is stored is not
// done again.
func TestFaultsAtEachPoint(t *testing.T) {
	keys := []int{0, 3, 4, 9, 10}
	for fault := crash; fault < faults; fault++ {
		points := 0
		for at := 1; ; at++ {
			w := newWorld(t, keys)
			finished := w.do(plan{fault: fault, at: at, options: operation.EachOptions{EveryItems: 2}, page: 3, quiet: true})
			if !w.passed {
				w.check(1)
				break
			}
			points++
			if finished { // the context ended too late to matter
				w.check(1)
				continue
			}
			for then := 1; ; then++ {
				next := *w
				next.disk, next.worked, next.stepped = maps.Clone(w.disk), maps.Clone(w.worked), maps.Clone(w.stepped)
				if next.do(plan{fault: crash, at: then, page: 2}) {
					next.check(2)
					break
				}
				if !next.do(plan{options: operation.EachOptions{EveryItems: 3}, page: 1}) {
					t.Fatal("not finished")
				}
				next.check(3)
			}
		}
		t.Log(points)
		if points < 50 {
			t.Errorf("fault %d had only %d points", fault, points)
		}
	}
}

// The same with random items, options and faults, of which the options change from run to run.
func TestFaultsAtRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := slices.Sorted(maps.Keys(rapid.MapOfN(rapid.IntRange(0, 100), rapid.Just(true), 0, 40).Draw(t, "keys")))
		w := newWorld(t, keys)
		for run := 1; ; run++ {
			p := plan{
				options: operation.EachOptions{
					Every:      rapid.SampledFrom([]time.Duration{0, 0, time.Nanosecond, time.Hour}).Draw(t, "every"),
					EveryItems: rapid.IntRange(0, 10).Draw(t, "every items"),
				},
				page:  rapid.IntRange(1, 10).Draw(t, "page"),
				quiet: rapid.Bool().Draw(t, "quiet"),
			}
			if run <= 12 {
				p.fault, p.at = rapid.IntRange(crash, faults-1).Draw(t, "fault"), rapid.IntRange(1, 200).Draw(t, "at")
			}
			if w.do(p) {
				w.check(run)
				return
			}
		}
	})
}
