package storetest

import (
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// testOwnRunner: renewals by themselves and in transactions are counted together, by all who count, and one that
// is renewed is not forgotten; or it is there again with the next renewal.
func testOwnRunner(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	runner := runnerRecord("r")
	runner.Own = true
	beat := uint64(0)
	counts := func(what string) {
		t.Helper()
		beat++
		for _, s := range stores {
			if got := runnersOf(t, s, "r")["r"].Beat; got != beat {
				t.Errorf("%s: its Beat is %d, want %d", what, got, beat)
			}
			if l := load(t, s, store.Batch{Runners: []string{"r"}}); l.Beats["r"] != beat {
				t.Errorf("%s: in a transaction its Beat is %d, want %d", what, l.Beats["r"], beat)
			}
		}
	}
	renew := func() {
		t.Helper()
		if err := stores[0].Renew(within(t), runner); err != nil {
			t.Fatalf("Renew: %v", err)
		}
	}
	for round := range 3 {
		mustCommit(t, stores[0], batch{insert: []store.Record{by(bare(string(rune('a'+round))), "r")}, runner: &runner})
		counts("a transaction")
		for range 3 {
			renew()
			counts("a renewal")
		}
		runner.Lease += time.Second
		renew()
		counts("another lease")
	}

	forgetOwn(t, stores, beat)
}

// forgetOwn purges runners: r, which a record names, stays, and one that is forgotten is there again once it is renewed.
func forgetOwn(t *testing.T, stores []store.Store, beat uint64) {
	t.Helper()
	all := runnersOf(t, stores[1], "r")
	insert(t, stores[1], ended(bare("old"), kapi.StatusCompleted, 1), ended(bare("older"), kapi.StatusCompleted, 1))
	purge(t, stores[1], all["r"].HeardAt, 1, 1)
	if got := runnersOf(t, stores[1], "r")["r"].Beat; got != beat {
		t.Errorf("after a purge its Beat is %d, want %d", got, beat)
	}

	idle := runnerRecord("idle")
	idle.Own = true
	for range 2 {
		if err := stores[1].Renew(within(t), idle); err != nil {
			t.Fatalf("Renew: %v", err)
		}
	}
	purge(t, stores[0], time.Now().UnixMilli()+60_000, 2, 1) // with room to spare, so that runners are forgotten, too
	if all := runnersOf(t, stores[0], "idle"); len(all) != 0 {
		t.Errorf("nothing names it, and it is there: %v", all)
	}
	if err := stores[1].Renew(within(t), idle); err != nil {
		t.Fatalf("Renew: %v", err)
	}
	if all := runnersOf(t, stores[0], "idle"); len(all) != 1 {
		t.Errorf("it was forgotten, and renewed, and there is %v", all)
	}
}
