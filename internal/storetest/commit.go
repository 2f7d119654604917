package storetest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

func testEmpty(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	first := snapshot(t, stores[0])
	if first.Seq != 0 || first.Purged != 0 || first.Epoch == "" || len(first.Records) != 0 {
		t.Errorf("got a new store with %+v, want seq and purged 0, an epoch and no records", first)
	}
	for i, s := range stores {
		page := feed(t, s, 0)
		if page.Head != first.Head || len(page.Records) != 0 {
			t.Errorf("Feed(0) at handle %d of a new store: got %+v, want the head %+v and no records", i, page, first.Head)
		}
		if all := runnersOf(t, s, "r"); len(all) != 0 {
			t.Errorf("a new store knows runners: %v", all)
		}
	}
	other := snapshot(t, b.handles(t, 1)[0])
	if other.Epoch == first.Epoch {
		t.Errorf("two stores have the same epoch %s", other.Epoch)
	}
}

// extremes returns records at the limits of what an action may contain.
func extremes() []store.Record {
	plain := bare("plain")
	zero := full("zero") // optional fields that are present and 0
	zero.Progress, zero.ExitCode, zero.Runner = new(float64), new(int), &kapi.Runner{}
	zero.Keys, zero.State, zero.Silence, zero.CancelledBy = nil, "", "", ""

	long := full("long")
	long.Title, long.Description = strings.Repeat("😀", 200), strings.Repeat("𝕜", 2000)
	long.State, long.Silence = strings.Repeat("🦊", 500), strings.Repeat("𠜎", 500)
	long.Keys = nil
	for i := range 8 {
		long.Keys = append(long.Keys, string(rune('a'+i))+strings.Repeat("𝄞", 199))
	}
	smallest, code := math.SmallestNonzeroFloat64, -1
	long.Progress, long.ExitCode = &smallest, &code
	long.CreatedAt, long.UpdatedAt, long.StartedAt, long.CancelRequestedAt = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64
	long.Fence = math.MaxInt64
	long.Runner = &kapi.Runner{ID: "r", Host: strings.Repeat("h", 253), PID: math.MaxInt32, HeardAt: math.MaxInt64}

	odd := full("odd")
	odd.Title = "שלום \u202e مرحبا \u200f👩‍👩‍👧‍👦 e\u0301 é"
	odd.Description = "a\tb\r\nc\\d'e\"f`g;h--i%j_k{l}m\x01n\x7fo\u2028p\ufeffq"
	odd.State = " leading and trailing "
	odd.Keys = []string{"a,b", "{a}", `"`, `\`, "NULL", "ключ", "🔑"}
	almost := math.Nextafter(1, 0)
	odd.Progress = &almost
	operation := bare("operation") // it waits for a peer that offers it
	operation.Operation, operation.Defined, operation.WaitsFor = "reshard", &store.Defined{Origin: "operation", Unclaimed: true}, &kapi.WaitsFor{Operation: "reshard"}
	vacant := full("vacant") // it has no runner, but names the last one
	vacant.Runner = nil
	return []store.Record{plain, full("full"), zero, long, odd, operation, vacant}
}

// wantSet checks that a value has no field, however deep, with the zero value.
func wantSet(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	if v.IsZero() {
		t.Errorf("%s is not set", name)
		return
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	for i := 0; v.Kind() == reflect.Struct && i < v.NumField(); i++ {
		wantSet(t, name+"."+v.Type().Field(i).Name, v.Field(i))
	}
}

func testRoundTrip(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	records := extremes()
	wantSet(t, "Defined", reflect.ValueOf(full("").Defined))
	for status := kapi.StatusPending; status <= kapi.StatusCompleted; status++ {
		r := full("status " + status.String())
		r.Status = status
		records = append(records, r)
	}
	for flags := range 8 {
		r := bare("flags " + string(rune('0'+flags)))
		r.ReleaseOnFailure, r.NotProvenDead, r.LateEnd, r.LeaveRunning = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0
		records = append(records, r)
	}
	written := insert(t, stores[0], records...)
	checkReads(t, stores[1], written)
}

// checkReads compares what each way of reading returns with what was written, in order of seq.
func checkReads(t *testing.T, s store.Store, written []store.Record) {
	t.Helper()
	var ongoing []store.Record
	for _, r := range written {
		if r.Status.Ongoing() {
			ongoing = append(ongoing, r)
		}
	}
	sameAll(t, "Snapshot (ongoing records)", snapshot(t, s).Records, ongoing)
	sameAll(t, "Feed(0)", feed(t, s, 0).Records, written)
	for _, r := range written {
		l := load(t, s, store.Batch{Since: r.Seq, Find: []string{r.ID}})
		if len(l.Found) != 1 {
			t.Errorf("Find of %q: %d records, want 1", r.ID, len(l.Found))
			continue
		}
		same(t, "Found", l.Found[0], r)
	}
}

// load returns what Commit passes to decide.
func load(t tb, s store.Store, b store.Batch) (l store.Loaded) {
	t.Helper()
	err := s.Commit(within(t), b, func(loaded store.Loaded) (store.Writes, error) {
		l = loaded
		return store.Writes{Head: l.Seq}, nil
	})
	if err != nil {
		t.Fatalf("Commit of nothing: %v", err)
	}
	return l
}

func testUpdate(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	before := insert(t, stores[0], bare("up"), full("down"))
	up, down := full("up"), bare("down")
	// These fields never change.
	for i, r := range []*store.Record{&up, &down} {
		r.Title, r.Description, r.CreatedAt, r.Sender = before[i].Title, before[i].Description, before[i].CreatedAt, before[i].Sender
	}
	down.ReleaseOnFailure = false
	checkReads(t, stores[1], update(t, stores[0], up, down))
	// A tombstone is in the feed and found by its id, but not in the snapshot.
	tombstones := update(t, stores[1], ended(down, kapi.StatusCompleted, 5), ended(up, kapi.StatusAborted, 6))
	checkReads(t, stores[0], tombstones)
	if head := snapshot(t, stores[0]).Seq; head != 6 {
		t.Errorf("after 6 changes the head's seq is %d, want 6", head)
	}
}

// testLarge: a batch of many changes is stored like one of few.
func testLarge(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	const n = 100
	var records, changed []store.Record
	for i := range n {
		if i%3 == 0 {
			records = append(records, bare(fmt.Sprint("bare", i)))
		} else {
			records = append(records, full(fmt.Sprint("full", i)))
		}
	}
	var claims []store.Claim
	for _, r := range records {
		claims = append(claims, store.Claim{Key: "key of " + r.ID, Action: r.ID})
	}
	written := mustCommit(t, stores[0], batch{insert: records, claim: claims})
	checkReads(t, stores[1], written)
	for i, before := range written {
		r := full(before.ID)
		if i%2 == 0 {
			r = bare(before.ID)
		}
		r.Title, r.Description, r.CreatedAt, r.Sender = before.Title, before.Description, before.CreatedAt, before.Sender
		changed = append(changed, r)
	}
	var free []string
	for _, c := range claims {
		free = append(free, c.Key)
	}
	written = mustCommit(t, stores[1], batch{update: changed, free: free})
	checkReads(t, stores[0], written)
	mustCommit(t, stores[0], batch{insert: []store.Record{bare("next")}, claim: []store.Claim{{Key: claims[0].Key, Action: "next"}}})
}

func testDecideFails(t *testing.T, b Backend) {
	s := b.handles(t, 1)[0]
	insert(t, s, bare("a"))
	before := feed(t, s, 0)
	refusal := errors.New("decide refuses")
	called := 0
	runner := runnerRecord("r")
	err := s.Commit(within(t), store.Batch{}, func(l store.Loaded) (store.Writes, error) {
		called++
		w := batch{
			insert: []store.Record{bare("b")}, claim: []store.Claim{{Key: "k", Action: "b"}}, runner: &runner,
		}.number(l.Seq)
		return w, refusal
	})
	if err != refusal { //nolint:errorlint // unchanged, not wrapped
		t.Errorf("Commit returned %#v, want decide's error unchanged", err)
	}
	if called != 1 {
		t.Errorf("decide was called %d times, want once", called)
	}
	unchanged(t, s, before, "k")
}

// unchanged checks that nothing was kept of a failed commit that would also have claimed the keys and
// added a runner.
func unchanged(t *testing.T, s store.Store, before store.Page, keys ...string) {
	t.Helper()
	after := feed(t, s, 0)
	if after.Head != before.Head {
		t.Errorf("the head went from %+v to %+v although nothing was committed", before.Head, after.Head)
	}
	sameAll(t, "the feed after a failed commit", after.Records, before.Records)
	if all := runnersOf(t, s, "r"); len(all) != 0 {
		t.Errorf("a runner of a failed commit was kept: %v", all)
	}
	for _, key := range keys {
		claim := []store.Claim{{Key: key, Action: "after"}}
		mustCommit(t, s, batch{insert: []store.Record{bare("holder of " + key)}, claim: claim})
	}
}

func testNothingToWrite(t *testing.T, b Backend) {
	s := b.handles(t, 1)[0]
	insert(t, s, bare("a"))
	before := feed(t, s, 0)
	for range 3 {
		load(t, s, store.Batch{})
	}
	unchanged(t, s, before)
}
