package peer_test

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
)

// with runs an operation to its end, with a watch of all actions.
func with(t *testing.T, op func(h kapi.Handle, next func(wanted func(kapi.Action) bool) kapi.Action)) {
	t.Helper()
	k := newPeer(t)
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	err = k.Do(t.Context(), kapi.Spec{Title: t.Name()}, func(_ context.Context, h kapi.Handle) error {
		op(h, func(wanted func(kapi.Action) bool) kapi.Action { return awaitNext(t, w, h.ID(), wanted) })
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func at(p float64) func(kapi.Action) bool {
	return func(a kapi.Action) bool { return a.Progress != nil && *a.Progress == p }
}

func saying(status kapi.Status, state string) func(kapi.Action) bool {
	return func(a kapi.Action) bool { return a.Status == status && a.State == state }
}

func TestProgress(t *testing.T) {
	with(t, func(h kapi.Handle, next func(func(kapi.Action) bool) kapi.Action) {
		h.SetProgress(math.NaN())
		h.SetProgress(-5)
		next(at(0))
		h.SetProgress(0.5)
		h.SetProgress(0.25) // ignored: progress never falls
		h.SetProgress(math.NaN())
		next(at(0.5))
		h.ResetProgress()
		next(func(a kapi.Action) bool { return a.Progress == nil })
		h.SetProgress(0.25)
		next(at(0.25))
		h.SetProgress(0.9)
		h.ResetProgress()
		h.SetProgress(0.1)
		next(at(0.1))
		h.SetProgress(math.Inf(1))
		next(at(1))
		h.SetProgress(2)
	})
}

func TestImpacted(t *testing.T) {
	with(t, func(h kapi.Handle, next func(func(kapi.Action) bool) kapi.Action) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		h.SetState("slot 5")
		must(h.Impacted("slow disk"))
		next(saying(kapi.StatusImpacted, "slow disk"))
		must(h.Impacted("slower disk"))
		next(saying(kapi.StatusImpacted, "slower disk"))
		must(h.Recovered())
		next(saying(kapi.StatusRunning, "slot 5"))
		must(h.Recovered())
		must(h.Impacted("again"))
		h.SetState("slot 6") // stays, because it is newer than the reason
		must(h.Recovered())
		next(saying(kapi.StatusRunning, "slot 6"))
		h.SetState(strings.Repeat("é", 600))
		next(func(a kapi.Action) bool { return a.State == strings.Repeat("é", 499)+"…" })
		h.SetState("")
		next(saying(kapi.StatusRunning, ""))
	})
}

// Reports are published at most ten times a second, however many there are, and the last one is
// always published.
func TestReportsAreGathered(t *testing.T) {
	k := newPeer(t)
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	began := time.Now()
	err = k.Do(t.Context(), kapi.Spec{Title: "t"}, func(_ context.Context, h kapi.Handle) error {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for i := range 100_000 {
					h.SetProgress(float64(i) / 100_000)
					if i%1000 == 0 {
						h.SetState(strings.Repeat("x", i/1000))
					}
				}
			})
		}
		all.Wait()
		h.SetState("the last")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	end := awaitAny(t, w, is(kapi.StatusCompleted))
	if end.State != "the last" || *end.Progress != 0.99999 {
		t.Errorf("ended as %+v at %v", end, *end.Progress)
	}
	// The start, the end, and one for each tenth of a second.
	if most := 3 + uint64(time.Since(began)/(100*time.Millisecond)); end.Seq > most {
		t.Errorf("%d changes, at most %d were due", end.Seq, most)
	}
}

// A handle that is used after its operation has ended does no harm.
func TestHandleAfterTheEnd(t *testing.T) {
	k := newPeer(t)
	var h kapi.Handle
	err := k.Do(t.Context(), kapi.Spec{Title: "t"}, func(_ context.Context, handle kapi.Handle) error {
		h = handle
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h.SetProgress(1)
	h.SetState("late")
	h.ResetProgress()
	wantError(t, h.Impacted("late"), kapi.ErrUnknown)
	wantError(t, h.Recovered(), kapi.ErrUnknown)
	if all, err := k.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("listed %+v, %v", all, err)
	}
}
