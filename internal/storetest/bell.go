package storetest

import (
	"testing"

	"github.com/kettubot/kapi/internal/store"
)

// testBell: a store that tells a runner's peer of changes by others does so for those that are meant for it, and
// only for those.
func testBell(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	bell := stores[0].(store.Bell)
	runner := runnerRecord("r")
	runner.Own = true
	mustCommit(t, stores[0], batch{insert: []store.Record{by(bare("a"), "r")}, runner: &runner})
	before, ok := bell.Rung("r")
	if !ok {
		t.Fatal("it can't tell")
	}
	rung := func(what string, want bool) {
		t.Helper()
		now, ok := bell.Rung("r")
		if !ok {
			t.Errorf("%s: it can't tell any more", what)
		}
		if (now != before) != want {
			t.Errorf("%s: the mark was %x and is %x, want a change: %v", what, before, now, want)
		}
		before = now
	}
	mustCommit(t, stores[1], batch{insert: []store.Record{bare("b")}})
	rung("a commit that doesn't concern it", false)
	mustCommit(t, stores[1], batch{insert: []store.Record{bare("c")}, wake: []string{"nobody", "r", "r"}})
	rung("one that does", true)
	if err := stores[0].Renew(within(t), runner); err != nil {
		t.Fatal(err)
	}
	rung("a renewal", false)
	mustCommit(t, stores[1], batch{insert: []store.Record{bare("d")}, wake: []string{"r"}})
	rung("another one", true)
	if _, ok := bell.Rung("another"); ok {
		t.Error("it tells for a runner of another process")
	}
}
