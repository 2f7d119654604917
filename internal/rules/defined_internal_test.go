package rules

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

func claiming(id string, fence uint64, runner string, keys ...string) *wish {
	return &wish{Change: Change{Kind: KindClaim, ID: id, Fence: fence, Action: &store.Record{
		Action:  kapi.Action{Keys: keys, Runner: &kapi.Runner{ID: runner, Host: "h", PID: 7}},
		Defined: &store.Defined{Limit: 1, Resumable: true},
	}}}
}

// A hundred peers that have seen the same version of an action claim it. One gets it, whether they are in one
// transaction or in a hundred.
func TestHundredClaims(t *testing.T) {
	const peers = 100
	for _, batch := range []int{1, 7, peers} {
		l := newLine(t)
		start := starting("a")
		start.Action.Operation, start.Action.Runner, start.Action.Defined = "reshard", nil, &store.Defined{Unclaimed: true, Resumable: true}
		l.commit(start)
		for round, fence := range []func() uint64{
			func() uint64 { return l.get("a").Fence },
			func() uint64 { // its runner dies
				dead := judged("a", Judge(new(l.get("a")), Evidence{Host: "h", PID: 7, Life: LifeGone}))
				l.commit(dead)
				return l.get("a").Fence
			},
		} {
			seen := fence()
			var claims []*wish
			for i := range peers {
				claims = append(claims, claiming("a", seen, fmt.Sprintf("p%d", i), "k"))
			}
			for part := range slices.Chunk(claims, batch) {
				l.commit(part...)
			}
			won := slices.DeleteFunc(slices.Clone(claims), func(c *wish) bool { return c.Err != nil })
			if r := l.get("a"); len(won) != 1 || r.RunnerID() != "p0" || r.Fence <= seen {
				t.Errorf("in batches of %d, round %d: %d claims succeeded; the runner is %s", batch, round, len(won), r.RunnerID())
			}
			for _, c := range claims[1:] {
				if !errors.Is(c.Err, kapi.ErrStaleFence) {
					t.Fatalf("another claim: %v", c.Err)
				}
			}
			l.commit(reporting("a", Report{Fence: l.get("a").Fence, Status: kapi.StatusRunning}))
		}
	}
}

// A start that is refused by the peer that has claimed it is refused with the same error to the one that recorded it.
func TestRefusal(t *testing.T) {
	holder := aRecord(kapi.StatusRunning).Action
	for _, err := range []error{
		&kapi.HeldError{Key: "k", Holder: holder},
		&kapi.HeldError{Operation: "reshard", Limit: 3, Holder: holder},
		&kapi.PreflightError{Operation: "reshard", Reason: "too few nodes"},
		&kapi.ArgumentsError{Operation: "reshard", Fields: []kapi.FieldError{{Field: "nodes[2]", Reason: "is missing"}, {Reason: "are too long"}}},
		&kapi.InvalidError{Reason: "continue names an action that is running"},
		errors.New("its Check panicked"),
		kapi.ErrUnknown,
	} {
		if got := RefusalError("reshard", RefusalOf(fmt.Errorf("claim: %w", err))); !reflect.DeepEqual(got, err) && got.Error() != "claim: "+err.Error() {
			t.Errorf("%#v became %#v", err, got)
		}
	}
	if err := RefusalError("reshard", nil); err != nil {
		t.Errorf("no refusal: %v", err)
	}
	if err := RefusalError("reshard", &store.Refusal{Key: "k", Holder: []byte("{")}); err == nil {
		t.Error("a holder that can't be read is no refusal")
	}
}

// The names that a change may concern are those of the action, of the queue for turns and of all turns.
func TestLookups(t *testing.T) {
	r := held("a", kapi.StatusRunning, 3, "k")
	if got := Lookups(&r); !slices.Equal(got, []string{"k"}) {
		t.Errorf("an ordinary action: %q", got)
	}
	r.Operation, r.Defined = "op", &store.Defined{Limit: 2}
	want := []string{"k", store.TurnsKey("op"), store.TurnKey("op", 1), store.TurnKey("op", 2)}
	if got := Lookups(&r); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// An action that waits for its turn alone needs no nudge, however free its keys are. One that waits for a key does.
func TestStalledTurns(t *testing.T) {
	r := held("a", kapi.StatusPending, 3)
	r.Operation, r.Defined, r.Ticket = "op", &store.Defined{Limit: 1}, 3
	r.Waits, r.WaitsFor = []string{"k", store.TurnsKey("op")}, &kapi.WaitsFor{Operation: "op", Action: "b"}
	nobody := func(string) string { return "" }
	if keys := Stalled([]*store.Record{&r}, nobody); len(keys) > 0 {
		t.Errorf("for a turn: %q", keys)
	}
	r.WaitsFor = &kapi.WaitsFor{Key: "k"}
	if keys := Stalled([]*store.Record{&r}, nobody); !slices.Contains(keys, "k") {
		t.Errorf("for a key: %q", keys)
	}
}

// An operation is known for 30 days after it was last offered.
func TestRetentionOfOffers(t *testing.T) {
	const day = 24 * time.Hour
	if got, want := Retention(now, 1).Offered, now-30*day.Milliseconds(); got != want {
		t.Errorf("offers from before %d are deleted, want %d", got, want)
	}
}

// Partial names a continued action only until it was loaded, and only while it is still to be dismissed.
func TestPartialContinued(t *testing.T) {
	b := held("b", kapi.StatusPending, 5)
	b.Operation, b.Ticket, b.Defined = "op", 5, &store.Defined{Continues: "a"}
	a := held("a", kapi.StatusFailed, 3)
	if got := NewPartial(&store.Loaded{Found: []store.Record{b}}).Continued(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("not loaded: %q", got)
	}
	if got := NewPartial(&store.Loaded{Found: []store.Record{b, a}}).Continued(); len(got) > 0 {
		t.Errorf("loaded: %q", got)
	}
}
