package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

func testRenew(t *testing.T, b Backend) { renew(t, b, false) }

// testRenewOwn: the same of the runner that the process itself is.
func testRenewOwn(t *testing.T, b Backend) { renew(t, b, true) }

func renew(t *testing.T, b Backend, own bool) {
	stores := b.handles(t, 2)
	insert(t, stores[0], bare("a"))
	want := runnerRecord("r")
	for beat := uint64(1); beat <= 3; beat++ {
		before := time.Now().UnixMilli()
		want.HeardAt, want.Own = before, own
		if err := stores[0].Renew(within(t), want); err != nil {
			t.Fatalf("Renew: %v", err)
		}
		got := runnersOf(t, stores[1], "r")["r"]
		if want.Own = false; own && got.Lock == store.LockFree {
			t.Error("its lock is free")
		} else if own {
			got.Lock = want.Lock
		}
		// A store may set HeardAt by its own clock or by the runner's: it is for display.
		if got.HeardAt < before-1000 || got.HeardAt > time.Now().UnixMilli()+1000 {
			t.Errorf("HeardAt is %d after a renewal at %d", got.HeardAt, before)
		}
		want.Beat = beat
		got.HeardAt = want.HeardAt
		if got != want {
			t.Errorf("after renewal %d\n got %+v\nwant %+v", beat, got, want)
		}
	}
	if all := runnersOf(t, stores[1], "never heard of"); len(all) != 0 {
		t.Errorf("Runners returned an unknown runner: %v", all)
	}
	nameless := store.RunnerRecord{ID: "nothing known"}
	if err := stores[1].Renew(within(t), nameless); err != nil {
		t.Fatalf("Renew: %v", err)
	}
	both := runnersOf(t, stores[0], "nothing known", "never heard of", "r")
	if len(both) != 2 {
		t.Errorf("Runners of two known ids and an unknown one: %v", both)
	}
	got := both["nothing known"]
	got.HeardAt, nameless.Beat = 0, 1
	if got != nameless {
		t.Errorf("a runner with nothing but an id: got %+v, want %+v", got, nameless)
	}
	if page := feed(t, stores[1], 0); page.Seq != 1 || len(page.Records) != 1 {
		t.Errorf("renewals are not changes, but the feed has %v up to %d", names(page.Records), page.Seq)
	}
}

// testRenewsWork: what a runner records of its processes changes while it runs.
func testRenewsWork(t *testing.T, b Backend) { renewsWork(t, b, false) }

func testRenewsOwnWork(t *testing.T, b Backend) { renewsWork(t, b, true) }

func renewsWork(t *testing.T, b Backend, own bool) {
	stores := b.handles(t, 2)
	r := runnerRecord("r")
	r.Own = own
	for _, work := range []string{r.Work, "", `{"b":{}}`} {
		r.Work = work
		if err := stores[0].Renew(within(t), r); err != nil {
			t.Fatalf("Renew: %v", err)
		}
		if got := runnersOf(t, stores[1], "r")["r"].Work; got != work {
			t.Errorf("got work %q, want %q", got, work)
		}
	}
	r.Work = `{"c":{}}`
	mustCommit(t, stores[1], batch{runner: &r, insert: []store.Record{bare("c")}})
	if got := runnersOf(t, stores[0], "r")["r"].Work; got != r.Work {
		t.Errorf("got work %q after a transaction, want %q", got, r.Work)
	}
}

// testObservations: observations of silent runners are returned for the same clock, until the runner is
// deleted.
func testObservations(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	for _, id := range []string{"silent", "other"} {
		if err := stores[0].Renew(within(t), runnerRecord(id)); err != nil {
			t.Fatalf("Renew: %v", err)
		}
	}
	before := feed(t, stores[0], 0).Seq
	seen := store.Observation{
		Runner: "silent", Clock: "boot 1", Beat: 1 << 40, Silent: 90 * time.Second, SinceBoot: 400 * 24 * time.Hour, Awake: 3 * time.Nanosecond,
	}
	elsewhere, other := seen, seen
	elsewhere.Clock, elsewhere.Silent = "boot 2", time.Second
	other.Runner, other.Silent = "other", 2*time.Second
	observe := func(s store.Store, all ...store.Observation) {
		t.Helper()
		if err := s.Observe(within(t), all); err != nil {
			t.Fatalf("Observe: %v", err)
		}
	}
	want := func(s store.Store, clock string, want ...store.Observation) {
		t.Helper()
		got, err := s.Observed(within(t), clock, []string{"other", "never heard of", "silent"})
		if err != nil {
			t.Fatalf("Observed: %v", err)
		}
		slices.SortFunc(got, func(a, b store.Observation) int { return strings.Compare(a.Runner, b.Runner) })
		if !slices.Equal(got, want) {
			t.Errorf("observed by %s\n got %+v\nwant %+v", clock, got, want)
		}
	}
	want(stores[1], "boot 1")
	observe(stores[0], seen, other)
	observe(stores[1], elsewhere)
	want(stores[1], "boot 1", other, seen)
	want(stores[0], "boot 2", elsewhere)
	want(stores[0], "boot 3")
	seen.Beat, seen.Silent, seen.SinceBoot, seen.Awake = seen.Beat+1, 0, 1, 2
	observe(stores[1], seen)
	want(stores[0], "boot 1", other, seen)
	if now := feed(t, stores[0], 0).Seq; now != before {
		t.Errorf("observations are not changes, but the feed went from %d to %d", before, now)
	}

	insert(t, stores[0], by(bare("ongoing"), "other"), ended(bare("old"), kapi.StatusCompleted, time.Now().UnixMilli()))
	purge(t, stores[1], time.Now().UnixMilli()+30*60_000, 10, 1)
	want(stores[0], "boot 1", other) // the silent one is deleted with its observations
	want(stores[0], "boot 2")
}

func testRunnerInCommit(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	runner := runnerRecord("r")
	mustCommit(t, stores[0], batch{
		insert: []store.Record{bare("a")}, claim: []store.Claim{{Key: "k", Action: "a"}}, runner: &runner,
	})
	mustCommit(t, stores[1], batch{insert: []store.Record{bare("b")}, runner: &runner})
	mustCommit(t, stores[1], batch{runner: &runner}) // without a change
	if _, err := commit(within(t), stores[1], batch{
		insert: []store.Record{bare("c")}, claim: []store.Claim{{Key: "k", Action: "c"}}, runner: &runner,
	}); !errors.Is(err, store.ErrKeyTaken) {
		t.Errorf("claiming a held key: error %v, want ErrKeyTaken", err)
	}
	if got := runnersOf(t, stores[0], "r")["r"]; got.Beat != 3 || got.Host != runner.Host {
		t.Errorf("a runner of three commits and a failed one: %+v, want Beat 3", got)
	}
	if head := feed(t, stores[0], 0).Seq; head != 2 {
		t.Errorf("the head is %d after two changes and a renewal", head)
	}
}

func testPurge(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	now := time.Now().UnixMilli()
	old, young := now-10*60_000, now-60_000
	before := now - 5*60_000
	// seq 1 and 2 are ongoing, however old; 3 is a young tombstone, 4 to 7 are old ones.
	insert(t, stores[0], at(bare("ongoing"), old), at(failed(bare("failed")), old),
		ended(bare("young"), kapi.StatusCompleted, young),
		ended(bare("o4"), kapi.StatusCompleted, old), ended(bare("o5"), kapi.StatusAborted, old),
		ended(bare("o6"), kapi.StatusCompleted, old), ended(bare("o7"), kapi.StatusCompleted, old))
	// One more update moves the action of seq 4 to seq 8.
	update(t, stores[0], ended(bare("o4"), kapi.StatusCompleted, old))
	purge(t, stores[1], old-1, 100, 0)
	checkPurged(t, stores, 0)
	// The first three tombstones by seq are young, o5 and o6, so at most two of them are due.
	total := 0
	for range 4 {
		n, err := stores[1].Purge(within(t), retention(before, 3))
		if err != nil || n > 3 {
			t.Fatalf("Purge with a limit of 3: %d, %v", n, err)
		}
		total += n
	}
	if total != 4 {
		t.Errorf("%d tombstones were purged, want the 4 old ones", total)
	}
	checkPurged(t, stores, 8)
	if page := feed(t, stores[0], 8); page.Seq != 8 || len(page.Records) != 0 {
		t.Errorf("Feed at the purged seq: %v up to %d, want nothing up to 8", names(page.Records), page.Seq)
	}
	if all := snapshot(t, stores[0]); len(all.Records) != 2 || all.Purged != 8 {
		t.Errorf("after the purge the snapshot has %v, purged %d; want the two ongoing ones, purged 8", names(all.Records), all.Purged)
	}
	if l := load(t, stores[0], store.Batch{Since: 8, Find: []string{"young", "o4", "o7"}}); len(l.Found) != 1 || l.Found[0].ID != "young" {
		t.Errorf("Find after the purge: %v, want only the young tombstone", names(l.Found))
	}
	// Deleting a tombstone below the purged seq doesn't lower it.
	purge(t, stores[0], now, 100, 1)
	checkPurged(t, stores, 8)
	purge(t, stores[0], now, 100, 0)
}

// checkPurged checks the purged seq at all handles, and that nobody can read on from a seq below it.
func checkPurged(t *testing.T, stores []store.Store, purged uint64) {
	t.Helper()
	for i, s := range stores {
		if got := snapshot(t, s).Purged; got != purged {
			t.Errorf("handle %d: the purged seq is %d, want %d", i, got, purged)
		}
		for _, since := range []uint64{0, purged / 2, purged - min(purged, 1)} {
			if since >= purged {
				continue
			}
			if _, err := s.Feed(within(t), since); !errors.Is(err, store.ErrBehind) {
				t.Errorf("handle %d: Feed(%d) below the purged seq %d: error %v, want ErrBehind", i, since, purged, err)
			}
			err := s.Commit(within(t), store.Batch{Since: since}, func(store.Loaded) (store.Writes, error) {
				t.Errorf("handle %d: decide was called although Since (%d) is below the purged seq %d", i, since, purged)
				return store.Writes{}, kapi.ErrClosed
			})
			if !errors.Is(err, store.ErrBehind) {
				t.Errorf("handle %d: Commit since %d below the purged seq %d: error %v, want ErrBehind", i, since, purged, err)
			}
		}
	}
}

func purge(t *testing.T, s store.Store, before int64, limit, want int) {
	t.Helper()
	n, err := s.Purge(within(t), retention(before, limit))
	if err != nil || n != want {
		t.Errorf("Purge(before %d, limit %d) = %d, %v; want %d", before, limit, n, err, want)
	}
}

func testPurgeForgetsRunners(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	all := []string{"works", "waits", "lost", "done", "idle"}
	for _, id := range all {
		if err := stores[0].Renew(within(t), runnerRecord(id)); err != nil {
			t.Fatalf("Renew: %v", err)
		}
	}
	now := time.Now().UnixMilli()
	insert(t, stores[0],
		by(bare("ongoing"), "works"), by(failed(bare("failed")), "waits"), vacant(bare("vacant"), "lost"),
		by(ended(bare("old"), kapi.StatusCompleted, now-10*60_000), "done"),
		by(ended(bare("older"), kapi.StatusCompleted, now-20*60_000), "done"))
	purge(t, stores[1], now-15*60_000, 10, 1) // all were heard after that
	if left := runnersOf(t, stores[0], all...); len(left) != len(all) {
		t.Errorf("runners heard after that were deleted: %v are left", left)
	}
	later := time.Now().UnixMilli() + 30*60_000
	purge(t, stores[1], later, 10, 1)
	left := runnersOf(t, stores[0], all...)
	for id, kept := range map[string]bool{"works": true, "waits": true, "lost": true, "done": false, "idle": false} {
		if _, ok := left[id]; ok != kept {
			t.Errorf("runner %q after the purge: kept %v, want %v (only those that no record names are deleted)", id, ok, kept)
		}
	}
}

// testPurgeFuture: a tombstone that a jumping clock dated far ahead would otherwise never be old enough.
func testPurgeFuture(t *testing.T, b Backend) {
	s := b.handles(t, 1)[0]
	now := time.Now()
	insert(t, s,
		ended(bare("ahead"), kapi.StatusCompleted, now.Add(20*365*24*time.Hour).UnixMilli()),
		ended(bare("now"), kapi.StatusCompleted, now.UnixMilli()))
	purge(t, s, now.Add(-5*time.Minute).UnixMilli(), 10, 1)
	if page := feed(t, s, 1); len(page.Records) != 1 || page.Records[0].ID != "now" {
		t.Errorf("after the purge the feed has %v, want only the current tombstone", names(page.Records))
	}
}

func at(r store.Record, updated int64) store.Record {
	r.UpdatedAt = updated
	return r
}

func failed(r store.Record) store.Record {
	r.Status = kapi.StatusFailed
	return r
}

func by(r store.Record, runner string) store.Record {
	r.Runner = &kapi.Runner{ID: runner, Host: "host of " + runner, PID: 1}
	return r
}

// retention keeps tombstones dated from before to an hour from now, and answers for a day.
func retention(before int64, limit int) store.Retention {
	now := time.Now()
	return store.Retention{
		Now: now.UnixMilli(), Before: before, Future: now.Add(time.Hour).UnixMilli(), Limit: limit,
		Noted: now.Add(-time.Hour).UnixMilli(), Answered: now.Add(-24 * time.Hour).UnixMilli(),
	}
}
