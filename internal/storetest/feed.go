package storetest

import (
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

func testFeed(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	latest := map[string]store.Record{}
	note := func(records []store.Record) {
		for _, r := range records {
			latest[r.ID] = r
		}
	}
	note(insert(t, stores[0], bare("a"), bare("b"), bare("c")))
	note(insert(t, stores[1], bare("d")))
	note(update(t, stores[0], full("b")))
	note(update(t, stores[1], ended(bare("a"), kapi.StatusCompleted, 9)))
	note(mustCommit(t, stores[0], batch{insert: []store.Record{bare("e")}, update: []store.Record{full("c"), full("d")}}))
	note(update(t, stores[1], full("c")))
	for i, s := range stores {
		for since := range uint64(12) {
			var want []store.Record
			for _, r := range latest {
				if r.Seq > since {
					r.Title, r.Description, r.CreatedAt = "", "", 0 // compared elsewhere: an update doesn't write these
					want = append(want, r)
				}
			}
			page := feed(t, s, since)
			if page.Seq != 10 {
				t.Errorf("handle %d: Feed(%d) has head %d, want 10", i, since, page.Seq)
			}
			checkFeed(t, page, since, want)
		}
	}
}

func checkFeed(t *testing.T, page store.Page, since uint64, want []store.Record) {
	t.Helper()
	wanted := map[string]uint64{}
	for _, r := range want {
		wanted[r.ID] = r.Seq
	}
	last := since
	for _, r := range page.Records {
		if r.Seq <= last {
			t.Errorf("Feed(%d) is not in ascending order of seq: %v", since, names(page.Records))
		}
		last = r.Seq
		if wanted[r.ID] != r.Seq {
			t.Errorf("Feed(%d) has %s at seq %d, want its latest, %d (0: not at all)", since, r.ID, r.Seq, wanted[r.ID])
		}
		delete(wanted, r.ID)
	}
	for id, seq := range wanted {
		t.Errorf("Feed(%d) lacks %s at seq %d", since, id, seq)
	}
}

func testLoaded(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	first := insert(t, stores[0], bare("a"), bare("b"))
	tombstone := update(t, stores[1], ended(first[0], kapi.StatusCompleted, 3))
	for range 3 {
		if err := stores[1].Renew(within(t), runnerRecord("r3")); err != nil {
			t.Fatalf("Renew: %v", err)
		}
	}
	l := load(t, stores[0], store.Batch{
		Since: 2, Find: []string{"b", "none", "a"}, Runners: []string{"r3", "unknown"},
	})
	if l.Seq != 3 || l.Epoch == "" {
		t.Errorf("decide saw the head %+v, want seq 3 and an epoch", l.Head)
	}
	sameAll(t, "the feed passed to decide", l.Records, tombstone)
	found := map[string]store.Record{}
	for _, r := range l.Found {
		found[r.ID] = r
	}
	if len(found) != 2 {
		t.Errorf("Found has %v, want a (a tombstone) and b (below Since), and not the unknown one", names(l.Found))
	}
	same(t, "Found", found["a"], tombstone[0])
	same(t, "Found", found["b"], first[1])
	if len(l.Beats) != 1 || l.Beats["r3"] != 3 {
		t.Errorf("Beats = %v, want r3: 3 and nothing of the unknown runner", l.Beats)
	}
}
