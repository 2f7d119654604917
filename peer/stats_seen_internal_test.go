package peer

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// A peer that reads the feed rarely, and so gets only the last of several changes of an action,
// counts the same starts and ends as the peer that made them.
func TestSeenIsWhatWasDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newView(func(*store.Record) {}, func(store.Record) {})
		v.load(store.Snapshot{Head: store.Head{Epoch: "e"}})
		var done rules.Tally
		stored, unread := map[string]*store.Record{}, map[string]store.Record{}
		var ids []string
		read := func(seq uint64) {
			page := store.Page{Head: store.Head{Epoch: "e", Seq: seq}}
			for s := v.head.Seq + 1; s <= seq; s++ {
				for _, r := range unread {
					if r.Seq == s {
						page.Records = append(page.Records, r)
					}
				}
			}
			clear(unread)
			v.apply(page)
		}
		for seq := uint64(1); seq <= 100; seq++ {
			var r store.Record
			var old *store.Record
			if len(ids) > 0 && rapid.Bool().Draw(t, "change") {
				old = stored[rapid.SampledFrom(ids).Draw(t, "id")]
			}
			if old == nil || !old.Status.Ongoing() {
				old = nil
				r = store.Record{Action: kapi.Action{ID: fmt.Sprint(seq), Status: rapid.SampledFrom([]kapi.Status{0, 1}).Draw(t, "born")}}
				ids = append(ids, r.ID)
			} else {
				r = *old
				next := []kapi.Status{r.Status}
				for s := range kapi.StatusCompleted + 1 {
					if r.Status.CanBecome(s) {
						next = append(next, s)
					}
				}
				r.Status = rapid.SampledFrom(next).Draw(t, "next")
			}
			r.Seq = seq
			done.Change(old, &r)
			stored[r.ID], unread[r.ID] = &r, r
			if rapid.IntRange(0, 9).Draw(t, "read") == 0 {
				read(seq)
			}
		}
		read(100)
		if v.seen.starts != done.Starts || v.seen.ends != done.Ends {
			t.Fatalf("seen %d, %v; done %d, %v", v.seen.starts, v.seen.ends, done.Starts, done.Ends)
		}
	})
}

// A clock that is ahead doesn't make a negative lag, and the peer's own changes have no lag.
func TestLag(t *testing.T) {
	v := newView(func(*store.Record) {}, func(store.Record) {})
	v.load(store.Snapshot{Head: store.Head{Epoch: "e"}})
	v.expectOwn(3, 5)
	page := store.Page{Head: store.Head{Epoch: "e", Seq: 8}}
	now := time.Now().UnixMilli()
	for seq, at := range map[uint64]int64{1: now + 3600_000, 2: now, 3: now - 40_000, 4: 0, 5: 0, 8: now - 3600_000} {
		page.Records = append(page.Records, store.Record{Action: kapi.Action{ID: fmt.Sprint(seq), Seq: seq, Status: kapi.StatusRunning, UpdatedAt: at}})
	}
	v.apply(page)
	lag := v.seen.lag
	n := len(lag.Counts)
	if lag.Counts[n-1] != 1 || lag.Counts[n-2] != 1 || lag.Sum < 3640 || lag.Sum > 3700 {
		t.Errorf("lag %+v", lag)
	}
	if small := lag.Counts[0] + lag.Counts[1] + lag.Counts[2] + lag.Counts[3] + lag.Counts[4] + lag.Counts[5]; small != 2 {
		t.Errorf("%d changes have nearly none", small)
	}
}

// The changes that a watch has delivered and those that it has skipped add up to all changes, for
// readers of any speed, however often the journal is tidied, and at the end of the watch.
func TestSkipped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newView(func(*store.Record) {}, func(store.Record) {})
		v.load(store.Snapshot{Head: store.Head{Epoch: "e"}})
		type reader struct {
			*Watch
			since, known uint64
		}
		var readers []*reader
		seq := uint64(0)
		join := func() {
			w := newWatch(v)
			v.mu.Lock()
			defer v.mu.Unlock()
			if err := w.begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			readers = append(readers, &reader{Watch: w, since: seq})
		}
		read := func(r *reader) bool {
			if e, _, err := r.look(); e == nil || err != nil {
				return false
			} else {
				skipped := r.pass(e)
				r.known += 1 + skipped
				if e.Seq-r.since != r.known {
					t.Fatalf("at seq %d, since %d, it knows of %d", e.Seq, r.since, r.known)
				}
			}
			return true
		}
		join()
		for seq < 300 {
			seq++
			id := fmt.Sprint(rapid.IntRange(1, 6).Draw(t, "id"))
			v.apply(store.Page{Head: store.Head{Epoch: "e", Seq: seq}, Records: []store.Record{{Action: kapi.Action{ID: id, Seq: seq, Status: kapi.StatusRunning}}}})
			switch rapid.IntRange(0, 19).Draw(t, "also") {
			case 0:
				join()
			case 1: // as wake does when the journal is full
				v.journal.tidyAt = 0
				least := seq
				for _, r := range readers {
					least = min(least, r.at.Load())
				}
				v.journal.tidy(least)
			case 2, 3, 4, 5, 6, 7:
				read(rapid.SampledFrom(readers).Draw(t, "reader"))
			}
		}
		v.mu.Lock()
		v.cut(readers[0].Watch, kapi.ErrClosed) // it still delivers the rest
		v.mu.Unlock()
		for _, r := range readers {
			for read(r) {
			}
			if r.known != seq-r.since {
				t.Fatalf("of %d changes it knows of %d", seq-r.since, r.known)
			}
		}
	})
}
