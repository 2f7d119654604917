package storetest

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A batch is Writes whose records get their seq inside the transaction: the inserts first, then the
// updates.
type batch struct {
	insert, update []store.Record
	free           []string
	claim          []store.Claim
	runner         *store.RunnerRecord
	answers        []store.Answer
	wake           []string
	saved          []store.Saved
	moves          []store.Move
	disposed       []string
}

// commit writes a batch and returns the records as written.
func commit(ctx context.Context, s store.Store, b batch) (written []store.Record, err error) {
	err = s.Commit(ctx, store.Batch{}, func(l store.Loaded) (store.Writes, error) {
		w := b.number(l.Seq)
		written = slices.Concat(w.Insert, w.Update)
		return w, nil
	})
	return written, err
}

// number assigns the seqs after head to the records.
func (b batch) number(head uint64) store.Writes {
	w := store.Writes{
		Insert: slices.Clone(b.insert), Update: slices.Clone(b.update),
		Free: b.free, Claim: b.claim, Answers: b.answers, Wake: b.wake,
		Saved: b.saved, Moves: b.moves, Disposed: b.disposed,
	}
	if b.runner != nil {
		w.Runners = []store.RunnerRecord{*b.runner}
	}
	for _, part := range [][]store.Record{w.Insert, w.Update} {
		for i := range part {
			head++
			part[i].Seq = head
		}
	}
	w.Head = head
	return w
}

func mustCommit(t tb, s store.Store, b batch) []store.Record {
	t.Helper()
	written, err := commit(within(t), s, b)
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return written
}

// insert commits new records in one transaction.
func insert(t tb, s store.Store, records ...store.Record) []store.Record {
	t.Helper()
	return mustCommit(t, s, batch{insert: records})
}

// update commits changed records in one transaction.
func update(t tb, s store.Store, records ...store.Record) []store.Record {
	t.Helper()
	return mustCommit(t, s, batch{update: records})
}

func snapshot(t tb, s store.Store) store.Snapshot {
	t.Helper()
	all, err := s.Snapshot(within(t))
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	slices.SortFunc(all.Records, bySeq)
	return all
}

func feed(t tb, s store.Store, since uint64) store.Page {
	t.Helper()
	page, err := s.Feed(within(t), since)
	if err != nil {
		t.Fatalf("Feed(%d): %v", since, err)
	}
	return page
}

func runnersOf(t tb, s store.Store, ids ...string) map[string]store.RunnerRecord {
	t.Helper()
	all, err := s.Runners(within(t), ids)
	if err != nil {
		t.Fatalf("Runners: %v", err)
	}
	byID := map[string]store.RunnerRecord{}
	for _, r := range all {
		if _, twice := byID[r.ID]; twice {
			t.Errorf("Runners has %s twice", r.ID)
		}
		r.Pulse = store.Pulse{} // has a meaning only for the store
		byID[r.ID] = r
	}
	return byID
}

func bySeq(a, b store.Record) int { return cmp.Compare(a.Seq, b.Seq) }

// bare returns a running record without optional fields.
func bare(id string) store.Record {
	return store.Record{
		Action: kapi.Action{
			ID: id, Title: "title of " + id, Status: kapi.StatusRunning, CreatedAt: 1000, UpdatedAt: 1000,
		},
		Fence: 1,
	}
}

// ended returns r as a tombstone that was last updated at the given time.
func ended(r store.Record, status kapi.Status, at int64) store.Record {
	r.Status, r.UpdatedAt, r.Keys = status, at, nil
	return r
}

// full returns a record with every field set.
func full(id string) store.Record {
	progress, code := 1.0/3, 255
	return store.Record{
		Action: kapi.Action{
			ID: id, Title: "Resharding", CreatedAt: 1_700_000_000_001, Status: kapi.StatusImpacted,
			Description: "moves 4096 slots\nto a new node", Progress: &progress, State: "slot 17",
			Keys: []string{"reshard", "deploy/eu-1"}, UpdatedAt: 1_700_000_000_002, StartedAt: 1_700_000_000_003,
			Runner:            &kapi.Runner{ID: "runner-1", Host: "db1.example", PID: 4711, HeardAt: 1_700_000_000_004},
			CancelRequestedAt: 1_700_000_000_005, CancelledBy: "Zoë", ExitCode: &code, NotProvenDead: true,
			WaitsFor:  &kapi.WaitsFor{Key: "Ünicode", Action: "b", Title: "two\nlines"},
			Operation: "reshard", StartedBy: "Ann \"the admin\"", Attempt: 3, NoCancel: "the slots\nare half moved", PausedBy: "Zoë",
		},
		Fence: 7, ReleaseOnFailure: true, Silence: "no word from db1.example", LateEnd: true, LeaveRunning: true,
		Waits: []string{"guild:81384788765712384", "Ünicode"}, Ticket: 5, DismissFailed: true,
		Sender: "mfrggzdfmztwq2lk", Defined: &store.Defined{
			Limit: 1000, Turn: 7, Unclaimed: true, MayWait: true, Continues: "failed", Origin: "first", Resumable: true, Takeovers: 3,
			Within: 600_000, Vacant: true, Why: "db2.example died", Version: 4, Deaths: 2, Saves: math.MaxInt64, Parked: true, Said: "slot 17 of <16384>",
			Patience: 60_000, HandedOver: true, Last: &kapi.Runner{ID: "runner-0", Host: "db2.example", PID: 1, HeardAt: 2}, Claim: 1 << 40,
			Refusal: &store.Refusal{
				Key: "k", Operation: "reshard", Limit: 2, Holder: []byte{0, 1, 255}, Preflight: "no\x00 quorum",
				Fields: []string{"nodes[2].host", ""}, Reasons: []string{"is missing", "are too many"}, Unknown: true, Invalid: "a title", Fault: "a panic",
			},
		},
	}
}

// same compares a record read with the one written.
func same(t tb, where string, got, want store.Record) {
	t.Helper()
	got, want = normal(got), normal(want)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: a record differs from what was written\n got %s\nwant %s", where, show(got), show(want))
	}
}

// sameAll compares lists in order of seq.
func sameAll(t tb, where string, got, want []store.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d records, want %d\n got %v\nwant %v", where, len(got), len(want), names(got), names(want))
		return
	}
	for i := range got {
		same(t, fmt.Sprintf("%s, record %d", where, i), got[i], want[i])
	}
}

// normal makes empty and nil lists the same.
func normal(r store.Record) store.Record {
	if len(r.Keys) == 0 {
		r.Keys = nil
	}
	return r
}

func names(all []store.Record) []string {
	list := make([]string, len(all))
	for i, r := range all {
		list[i] = fmt.Sprintf("%s@%d", r.ID, r.Seq)
	}
	return list
}

// show prints a record and what its pointers point to.
func show(r store.Record) string {
	var b strings.Builder
	if r.Progress != nil {
		fmt.Fprintf(&b, "progress %v ", *r.Progress)
	}
	if r.Runner != nil {
		fmt.Fprintf(&b, "runner %+v ", *r.Runner)
	}
	if r.ExitCode != nil {
		fmt.Fprintf(&b, "exit code %d ", *r.ExitCode)
	}
	if r.WaitsFor != nil {
		fmt.Fprintf(&b, "waits for %+v ", *r.WaitsFor)
	}
	if r.Defined != nil {
		fmt.Fprintf(&b, "defined %s ", store.EncodeDefined(&r))
	}
	r.Progress, r.Runner, r.ExitCode, r.WaitsFor, r.Defined = nil, nil, nil, nil, nil
	type plain store.Record // without Action's methods
	return b.String() + fmt.Sprintf("%+v", plain(r))
}

// vacant returns r as an action that has lost its runner.
func vacant(r store.Record, last string) store.Record {
	r.Operation, r.Defined = "reshard", &store.Defined{Origin: r.ID, Vacant: true, Last: &kapi.Runner{ID: last, Host: "h", PID: 2}}
	return r
}

func runnerRecord(id string) store.RunnerRecord {
	return store.RunnerRecord{
		ID: id, Host: "host of " + id, PID: 4711, BootID: "boot", PIDNamespace: "pid:[4026531836]",
		StartTime: 1 << 40, Lease: 15 * time.Second, Work: `{"a":{"mark":"of ` + id + `"}}`,
	}
}
