package rules

import (
	"slices"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A transaction wakes another peer for what its operation must know, and only for that.
func TestWake(t *testing.T) {
	runBy := func(id string, s kapi.Status, keys ...string) store.Record {
		r := held(id, s, 3, keys...)
		r.Runner = &kapi.Runner{ID: "peer of " + id, PID: 7}
		return r
	}
	waiting := func(id string, keys ...string) store.Record {
		r := runBy(id, kapi.StatusPending)
		r.Waits, r.Ticket = keys, 4+uint64(id[0])
		return r
	}
	operated := runBy("a", kapi.StatusRunning)
	operated.Defined = &store.Defined{}
	paused := operated
	paused.PausedBy = "ann"
	remote := runBy("a", kapi.StatusRunning)
	remote.Runner.PID = 0
	silent := Verdict{Silence: "silent"}
	done := Report{Fence: 3, Status: kapi.StatusCompleted}
	for name, c := range map[string]struct {
		self   string
		world  []store.Record
		change *wish
		wake   []string
	}{
		"a cancel":                  {"another", []store.Record{runBy("a", kapi.StatusRunning)}, cancelling("a"), []string{"peer of a"}},
		"a pause":                   {"another", []store.Record{operated}, &wish{Change: Change{Kind: KindPause, ID: "a", By: "ann"}}, []string{"peer of a"}},
		"the end of a pause":        {"another", []store.Record{paused}, &wish{Change: Change{Kind: KindContinue, ID: "a"}}, []string{"peer of a"}},
		"its own prohibition":       {"peer of a", []store.Record{operated}, &wish{Change: Change{Kind: KindForbid, ID: "a", Fence: 3, Reason: "now"}}, nil},
		"silence":                   {"another", []store.Record{runBy("a", kapi.StatusRunning)}, judged("a", silent), []string{"peer of a"}},
		"a death":                   {"another", []store.Record{runBy("a", kapi.StatusRunning)}, judged("a", Verdict{Failure: "died"}), []string{"peer of a"}},
		"an end, and thus a grant":  {"peer of a", []store.Record{runBy("a", kapi.StatusRunning, "k"), waiting("b", "k")}, reporting("a", done), []string{"peer of b"}},
		"another reason to wait":    {"peer of a", []store.Record{runBy("a", kapi.StatusRunning, "k"), waiting("b", "k"), waiting("c", "k"), waiting("d", "k"), waiting("e", "k")}, reporting("a", done), []string{"peer of b", "peer of c", "peer of d"}},
		"its own report":            {"peer of a", []store.Record{runBy("a", kapi.StatusRunning)}, reporting("a", done), nil},
		"a runner that is no peer":  {"another", []store.Record{remote}, cancelling("a"), nil},
		"the dismissal of a failed": {"another", []store.Record{runBy("a", kapi.StatusFailed)}, dismissing("a"), []string{"peer of a"}},
	} {
		t.Run(name, func(t *testing.T) {
			pl := NewPlan(aWorld(c.world...), store.Loaded{}, nil, now, Limits{Self: c.self})
			if pl.addAll(c.change); c.change.Err != nil {
				t.Fatal(c.change.Err)
			}
			if w, _ := pl.Writes(); !slices.Equal(w.Wake, c.wake) {
				t.Errorf("it wakes %q, want %q", w.Wake, c.wake)
			}
		})
	}
}
