package rules

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

const (
	then = int64(1_000) // when the record was last changed
	now  = int64(2_000) // when the change under test is made
)

// aRecord is a record of status s with fence 7, half done, holding a key.
func aRecord(s kapi.Status) store.Record {
	r := store.Record{
		Action: kapi.Action{
			ID: "a", Title: "t", CreatedAt: then, Status: s, Progress: new(0.5), State: "slot 5",
			Seq: 7, Keys: []string{"k"}, UpdatedAt: then, StartedAt: then,
			Runner: &kapi.Runner{ID: "r", Host: "h", PID: 1, HeardAt: then},
		},
		Fence: 7,
	}
	if s == kapi.StatusPending {
		r.StartedAt = 0
	}
	if !s.Ongoing() {
		r.Keys = nil
	}
	return r
}

func givenUp(r *store.Record) {
	r.Status, r.NotProvenDead, r.State = kapi.StatusFailed, true, "no word"
}

// Every move that a runner can report, from every status, is allowed or refused as the table says.
func TestReportMoves(t *testing.T) {
	for from := range kapi.Status(6) {
		for _, to := range []kapi.Status{kapi.StatusRunning, kapi.StatusImpacted, kapi.StatusFailed, kapi.StatusCompleted} {
			r := aRecord(from)
			err := applyReport(&r, Report{Fence: 7, Status: to}, now)
			var move *kapi.MoveError
			switch {
			case from == to, from == kapi.StatusAborted && to == kapi.StatusFailed:
				if !errors.Is(err, errUnchanged) {
					t.Errorf("%s again: %v", to, err)
				}
			case !from.Ongoing():
				if !errors.Is(err, kapi.ErrUnknown) {
					t.Errorf("%s to %s: %v, want ErrUnknown", from, to, err)
				}
			case from.CanBecome(to):
				if err != nil || r.Status != to {
					t.Errorf("%s to %s: %v, is %s", from, to, err, r.Status)
				}
			case !errors.As(err, &move) || move.From != from || move.To != to:
				t.Errorf("%s to %s: %v, want a MoveError", from, to, err)
			}
			if err != nil && !reflect.DeepEqual(r, aRecord(from)) {
				t.Errorf("%s to %s was refused, but the record is %+v", from, to, r)
			}
		}
	}
}

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(*store.Record)
		rep    Report
		err    error
		after  func(*store.Record) // what changes, apart from times
	}{
		{name: "stale fence", rep: Report{Fence: 6, Status: kapi.StatusCompleted}, err: kapi.ErrStaleFence},
		{name: "fence of the future", rep: Report{Fence: 8, Progress: new(0.9)}, err: &kapi.FenceError{Fence: 8}},
		{name: "no fence", rep: Report{Status: kapi.StatusCompleted}, err: &kapi.FenceError{}},
		{name: "nothing new", rep: Report{Fence: 7, Progress: new(0.5), State: new("slot 5")}, err: errUnchanged},
		{name: "nothing at all", rep: Report{Fence: 7}, err: errUnchanged},
		{name: "more progress", rep: Report{Fence: 7, Progress: new(0.75)}, after: func(r *store.Record) { r.Progress = new(0.75) }},
		{name: "lower progress", rep: Report{Fence: 7, Progress: new(0.25)}, err: errUnchanged},
		{name: "NaN", rep: Report{Fence: 7, Progress: new(math.NaN())}, err: errUnchanged},
		{name: "progress past 1", rep: Report{Fence: 7, Progress: new(7.0)}, after: func(r *store.Record) { r.Progress = new(1.0) }},
		{name: "progress below 0", rep: Report{Fence: 7, Progress: new(-7.0)}, err: errUnchanged},
		{name: "reset", rep: Report{Fence: 7, ResetProgress: true}, after: func(r *store.Record) { r.Progress = nil }},
		{
			name: "reset and lower", rep: Report{Fence: 7, ResetProgress: true, Progress: new(0.1)},
			after: func(r *store.Record) { r.Progress = new(0.1) },
		},
		{name: "reset to the same", rep: Report{Fence: 7, ResetProgress: true, Progress: new(0.5)}, err: errUnchanged},
		{name: "reset and NaN", rep: Report{Fence: 7, ResetProgress: true, Progress: new(math.NaN())}, after: func(r *store.Record) { r.Progress = nil }},
		{name: "state", rep: Report{Fence: 7, State: new("slot 6")}, after: func(r *store.Record) { r.State = "slot 6" }},
		{name: "state cleared", rep: Report{Fence: 7, State: new("")}, after: func(r *store.Record) { r.State = "" }},
		{
			name: "state cut", rep: Report{Fence: 7, State: new(strings.Repeat("é", 501))},
			after: func(r *store.Record) { r.State = strings.Repeat("é", 499) + "…" },
		},
		{
			name: "failure keeps the keys", rep: Report{Fence: 7, Status: kapi.StatusFailed, State: new("boom"), ExitCode: new(3)},
			after: func(r *store.Record) { r.Status, r.State, r.ExitCode = kapi.StatusFailed, "boom", new(3) },
		},
		{
			name: "failure frees the keys if so declared", before: func(r *store.Record) { r.ReleaseOnFailure = true },
			rep:   Report{Fence: 7, Status: kapi.StatusFailed},
			after: func(r *store.Record) { r.Status, r.Keys = kapi.StatusFailed, nil },
		},
		{
			name: "failure with the work going on keeps them all the same", before: func(r *store.Record) { r.ReleaseOnFailure = true },
			rep:   Report{Fence: 7, Status: kapi.StatusFailed, NotProvenDead: true},
			after: func(r *store.Record) { r.Status, r.NotProvenDead = kapi.StatusFailed, true },
		},
		{
			name: "completion frees the keys", rep: Report{Fence: 7, Status: kapi.StatusCompleted},
			after: func(r *store.Record) { r.Status, r.Keys = kapi.StatusCompleted, nil },
		},
		{
			name: "first run", before: func(r *store.Record) { r.Status, r.StartedAt = kapi.StatusPending, 0 },
			rep:   Report{Fence: 7, Status: kapi.StatusRunning},
			after: func(r *store.Record) { r.Status, r.StartedAt = kapi.StatusRunning, now },
		},
		{
			name: "heard again", before: func(r *store.Record) { r.Silence = "no word" },
			rep: Report{Fence: 7, Progress: new(0.5)}, after: func(r *store.Record) { r.Silence = "" },
		},
		{
			name: "a refused move tells nothing else", before: func(r *store.Record) { r.Status = kapi.StatusPending },
			rep: Report{Fence: 7, Status: kapi.StatusCompleted, State: new("x")}, err: &kapi.MoveError{From: kapi.StatusPending, To: kapi.StatusCompleted},
		},
		{
			name: "a stale fence says nothing of silence", before: func(r *store.Record) { r.Silence = "no word" },
			rep: Report{Fence: 6}, err: kapi.ErrStaleFence,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := aRecord(kapi.StatusRunning)
			if tt.before != nil {
				tt.before(&r)
			}
			want := r
			checkChange(t, &r, applyReport(&r, tt.rep, now), tt.err)
			if tt.after != nil {
				tt.after(&want)
				want.UpdatedAt = now
				want.Runner = &kapi.Runner{ID: "r", Host: "h", PID: 1, HeardAt: now}
			}
			checkRecord(t, r, want)
		})
	}
}

func TestReportAfterGivenUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rep   Report
		state string
	}{
		{"command succeeded", Report{Status: kapi.StatusCompleted, ExitCode: new(0)}, "exit 0"},
		{"function succeeded", Report{Status: kapi.StatusCompleted}, "completed"},
		{"failed", Report{Status: kapi.StatusFailed, State: new("exit status 3"), ExitCode: new(3)}, "exit status 3"},
		{"failed without a word", Report{Status: kapi.StatusFailed}, "failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := aRecord(kapi.StatusRunning)
			r.ReleaseOnFailure = true
			givenUp(&r)
			rep := tt.rep
			rep.Fence = 7
			if err := applyReport(&r, Report{Fence: 7, Progress: new(0.9)}, now); !errors.Is(err, kapi.ErrGivenUp) {
				t.Errorf("progress: %v, want ErrGivenUp", err)
			}
			if err := applyReport(&r, rep, now); err != nil {
				t.Fatal(err)
			}
			want := "finished after it was given up: " + tt.state
			if r.Status != kapi.StatusFailed || r.State != want || !r.LateEnd || !slices.Equal(r.Keys, []string{"k"}) {
				t.Errorf("after the late end: %+v", r)
			}
			if !reflect.DeepEqual(r.ExitCode, rep.ExitCode) {
				t.Errorf("exit code %v", r.ExitCode)
			}
			if r.NotProvenDead {
				t.Error("the work is known to have ended, but the action is still not proven dead")
			}
			rep.State = new("said twice")
			if err := applyReport(&r, rep, now+1); !errors.Is(err, errUnchanged) || r.State != want {
				t.Errorf("repeated: %v, %q", err, r.State)
			}
		})
	}
}

// Reports after a failure that the runner reported itself.
func TestReportAfterFailure(t *testing.T) {
	for _, tt := range []struct {
		status kapi.Status
		err    error
	}{
		{0, &kapi.MoveError{From: kapi.StatusFailed, To: kapi.StatusFailed}},
		{kapi.StatusRunning, &kapi.MoveError{From: kapi.StatusFailed, To: kapi.StatusRunning}},
		{kapi.StatusImpacted, &kapi.MoveError{From: kapi.StatusFailed, To: kapi.StatusImpacted}},
		{kapi.StatusFailed, errUnchanged},
		{kapi.StatusCompleted, &kapi.MoveError{From: kapi.StatusFailed, To: kapi.StatusCompleted}},
	} {
		r := aRecord(kapi.StatusFailed)
		checkChange(t, &r, applyReport(&r, Report{Fence: 7, Status: tt.status, State: new("x")}, now), tt.err)
		checkRecord(t, r, aRecord(kapi.StatusFailed))
	}
}

func TestDismiss(t *testing.T) {
	for s := range kapi.Status(6) {
		r := aRecord(s)
		want := aRecord(s)
		switch err := dismiss(&r, now); s {
		case kapi.StatusFailed:
			checkChange(t, &r, err, nil)
			want.Status, want.Keys, want.UpdatedAt = kapi.StatusAborted, nil, now
		case kapi.StatusAborted, kapi.StatusCompleted:
			checkChange(t, &r, err, kapi.ErrUnknown)
		default:
			checkChange(t, &r, err, kapi.ErrNotFailed)
		}
		checkRecord(t, r, want)
	}
}

func TestRequestCancel(t *testing.T) {
	for s := range kapi.Status(6) {
		r := aRecord(s)
		want := aRecord(s)
		err := requestCancel(&r, "ada", now)
		var not *kapi.NotCancellableError
		switch s {
		case kapi.StatusAborted, kapi.StatusCompleted:
			checkChange(t, &r, err, kapi.ErrUnknown)
		case kapi.StatusFailed:
			if !errors.As(err, &not) {
				t.Errorf("failed: %v", err)
			}
		default:
			checkChange(t, &r, err, nil)
			want.CancelRequestedAt, want.CancelledBy, want.UpdatedAt = now, "ada", now
			if err := requestCancel(&r, "bob", now+1); !errors.Is(err, errUnchanged) {
				t.Errorf("%s, asked again: %v", s, err)
			}
		}
		checkRecord(t, r, want)
	}
}

func TestRestore(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(*store.Record)
		fence  uint64
		err    error
	}{
		{"silent", func(r *store.Record) { r.Silence = "no word" }, 7, nil},
		{"not silent", func(*store.Record) {}, 7, errUnchanged},
		{"another's by now", func(r *store.Record) { r.Silence = "no word" }, 6, errUnchanged},
		{"failed by now", func(r *store.Record) { givenUp(r); r.Silence = "no word" }, 7, errUnchanged},
	} {
		r := aRecord(kapi.StatusImpacted)
		tt.before(&r)
		want := r
		checkChange(t, &r, restore(&r, tt.fence, now), tt.err)
		if tt.err == nil {
			want.Silence, want.UpdatedAt = "", now
			want.Runner = &kapi.Runner{ID: "r", Host: "h", PID: 1, HeardAt: now}
		}
		checkRecord(t, r, want)
	}
}

func checkChange(t *testing.T, r *store.Record, err, want error) {
	t.Helper()
	if !errors.Is(err, want) && !reflect.DeepEqual(err, want) {
		t.Errorf("%s: error %v, want %v", r.Status, err, want)
	}
}

func checkRecord(t *testing.T, got, want store.Record) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
