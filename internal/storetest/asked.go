package storetest

import (
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// testAsked: notes of the processes that were asked to end are kept with their runner, through its renewals, in the
// order in which they came. They are no changes.
func testAsked(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	for _, id := range []string{"dead", "other"} {
		if err := stores[0].Renew(within(t), runnerRecord(id)); err != nil {
			t.Fatalf("Renew: %v", err)
		}
	}
	before := feed(t, stores[0], 0).Seq
	note := func(s store.Store, notes ...store.Asked) {
		t.Helper()
		if err := s.NoteAsked(within(t), notes); err != nil {
			t.Fatalf("NoteAsked: %v", err)
		}
	}
	want := func(s store.Store, dead, other string) {
		t.Helper()
		got := runnersOf(t, s, "dead", "other")
		if got["dead"].Asked != dead || got["other"].Asked != other {
			t.Errorf("got the notes %.100q and %.100q, want %.100q and %.100q", got["dead"].Asked, got["other"].Asked, dead, other)
		}
	}
	want(stores[1], "", "")
	note(stores[0], store.Asked{Runner: "dead", Note: "1\n2\n"}, store.Asked{Runner: "never heard of", Note: "3\n"})
	note(stores[1], store.Asked{Runner: "other", Note: "4\n"}, store.Asked{Runner: "dead", Note: "5\n"}, store.Asked{Runner: "dead", Note: "6\n"})
	want(stores[0], "1\n2\n5\n6\n", "4\n")
	if err := stores[0].Renew(within(t), runnerRecord("other")); err != nil {
		t.Fatalf("Renew: %v", err)
	}
	want(stores[1], "1\n2\n5\n6\n", "4\n")
	long := strings.Repeat("x", store.MaxAsked-3) + "\n"
	note(stores[1], store.Asked{Runner: "dead", Note: long})
	want(stores[0], "6\n"+long, "4\n")
	if now := feed(t, stores[0], 0).Seq; now != before {
		t.Errorf("notes are not changes, but the feed went from %d to %d", before, now)
	}
	insert(t, stores[0], ended(bare("old"), kapi.StatusCompleted, time.Now().UnixMilli()))
	purge(t, stores[0], time.Now().UnixMilli()+30*60_000, 10, 1)
	want(stores[1], "", "") // with their runners
}
