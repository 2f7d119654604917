package peer

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// Readers of any speed get the newest entry of every action, in order of seq, and every ending,
// however often the journal is tidied.
func TestJournal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var j journal
		newest := map[string]*entry{}
		type reader struct {
			at   uint64
			seen map[string]*entry
		}
		readers := []*reader{{seen: map[string]*entry{}}, {seen: map[string]*entry{}}, {seen: map[string]*entry{}}}
		read := func(r *reader) bool {
			e := j.after(r.at)
			if e == nil {
				return false
			}
			if e.Seq <= r.at {
				t.Fatalf("told seq %d after %d", e.Seq, r.at)
			}
			r.at, r.seen[e.ID] = e.Seq, e
			return true
		}
		ids := 0
		for seq := uint64(1); seq <= 200; seq++ {
			id := fmt.Sprint(rapid.IntRange(max(0, ids-5), ids).Draw(t, "id"))
			if e := newest[id]; e == nil {
				ids++
			} else if !e.Status.Ongoing() {
				continue
			}
			e := &entry{Record: store.Record{Action: kapi.Action{ID: id, Seq: seq, Status: rapid.SampledFrom([]kapi.Status{1, 2, 3, 4, 5}).Draw(t, "status")}}}
			j.add(e)
			newest[id] = e
			for range rapid.IntRange(0, 3).Draw(t, "reads") {
				read(rapid.SampledFrom(readers).Draw(t, "reader"))
			}
			if rapid.IntRange(0, 9).Draw(t, "tidy") == 0 {
				if lost := j.tidy(min(readers[0].at, readers[1].at, readers[2].at)); lost != 0 {
					t.Fatalf("lost seq %d", lost)
				}
			}
		}
		for _, r := range readers {
			rest := j.rest(r.at)
			for read(r) {
				if rest[0].Seq != r.at {
					t.Fatalf("the rest has seq %d, read was %d", rest[0].Seq, r.at)
				}
				rest = rest[1:]
			}
			if len(rest) > 0 {
				t.Fatalf("the rest has %d more", len(rest))
			}
			for id, e := range newest {
				if r.seen[id] != e {
					t.Fatalf("of %s the reader has %+v, want %+v", id, r.seen[id], e)
				}
			}
		}
	})
}

// ended returns n endings, beginning with the given seq.
func ended(seq uint64, n int) []store.Record {
	all := make([]store.Record, n)
	for i := range all {
		all[i] = store.Record{Action: kapi.Action{ID: fmt.Sprint("e", seq), Seq: seq, Status: kapi.StatusCompleted}}
		seq++
	}
	return all
}

// A reader that is too slow for the endings that are kept gets ErrGap. The others don't.
func TestTooSlow(t *testing.T) {
	v := newView(func(*store.Record) {}, func(store.Record) {})
	v.load(store.Snapshot{Head: store.Head{Epoch: "e"}})
	ctx := context.Background()
	watch := func() *Watch {
		w := newWatch(v)
		w.Epoch = "e"
		v.watches[w] = struct{}{}
		return w
	}
	slow, fast := watch(), watch()
	const page = 4096
	seq := uint64(1)
	for range 2*maxEndings/page + 4 { // the journal is tidied when it has doubled
		v.apply(store.Page{Head: store.Head{Epoch: "e", Seq: seq + page - 1}, Records: ended(seq, page)})
		for want := seq; want < seq+page; want++ {
			if a, err := fast.Next(ctx); err != nil || a.Seq != want {
				t.Fatalf("the fast one is told seq %d, %v; want %d", a.Seq, err, want)
			}
		}
		seq += page
	}
	if _, err := slow.Next(ctx); err != kapi.ErrGap {
		t.Errorf("the slow one: %v", err)
	}
	if len(v.journal.entries) > 2*maxEndings {
		t.Errorf("the journal has %d entries", len(v.journal.entries))
	}
	fast.Close()
	if len(v.journal.entries) != 0 {
		t.Error("the journal is kept although there are no watches")
	}
}

// If all readers keep up, the journal stays small, and its entries are released.
func TestJournalStaysSmall(t *testing.T) {
	v := newView(func(*store.Record) {}, func(store.Record) {})
	v.load(store.Snapshot{Head: store.Head{Epoch: "e"}})
	w := newWatch(v)
	v.watches[w] = struct{}{}
	for seq := uint64(1); seq < 20*journalTidy; seq++ {
		v.apply(store.Page{Head: store.Head{Epoch: "e", Seq: seq}, Records: ended(seq, 1)})
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(v.journal.entries); n > journalTidy {
			t.Fatalf("%d entries", n)
		}
	}
	if i := slices.Index(v.journal.entries, nil); i >= 0 {
		t.Errorf("entry %d of an ending is nil", i)
	}
}

// Delivered entries are released, because a watch may live for weeks.
func TestBehind(t *testing.T) {
	all := []*entry{{}, {}, {}}
	rest := behind(behind(all))
	if all[0] != nil || all[1] != nil || len(rest) != 1 || behind(rest) != nil {
		t.Errorf("%v of %v", rest, all)
	}
}
