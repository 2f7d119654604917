package kapi

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const (
	then = int64(1_000) // when the record was last changed
	now  = int64(2_000) // when the change under test is made
)

// aRecord is a record of status s with fence 7, half done, holding a key.
func aRecord(s Status) Record {
	r := Record{
		Action: Action{
			ID: "a", Title: "t", CreatedAt: then, Status: s, Progress: new(0.5), State: "slot 5",
			Seq: 7, Keys: []string{"k"}, UpdatedAt: then, StartedAt: then,
			Runner: &Runner{ID: "r", Host: "h", PID: 1, HeardAt: then},
		},
		Fence: 7,
	}
	if s == StatusPending {
		r.StartedAt = 0
	}
	if !s.Ongoing() {
		r.Keys = nil
	}
	return r
}

func givenUp(r *Record) { r.Status, r.GivenUp, r.State = StatusFailed, true, "no word" }

// Every move a runner can report, from every status, is as the table says.
func TestReportMoves(t *testing.T) {
	for from := range Status(6) {
		for _, to := range []Status{StatusRunning, StatusImpacted, StatusFailed, StatusCompleted} {
			r := aRecord(from)
			err := applyReport(&r, report{fence: 7, status: to}, now)
			var move *MoveError
			switch {
			case from == to, from == StatusAborted && to == StatusFailed:
				if !errors.Is(err, errUnchanged) {
					t.Errorf("%s again: %v", to, err)
				}
			case !from.Ongoing():
				if !errors.Is(err, ErrUnknown) {
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
		before func(*Record)
		rep    report
		err    error
		after  func(*Record) // what changes, times apart
	}{
		{name: "stale fence", rep: report{fence: 6, status: StatusCompleted}, err: ErrStaleFence},
		{name: "fence of the future", rep: report{fence: 8, progress: new(0.9)}, err: ErrStaleFence},
		{name: "nothing new", rep: report{fence: 7, progress: new(0.5), state: new("slot 5")}, err: errUnchanged},
		{name: "nothing at all", rep: report{fence: 7}, err: errUnchanged},
		{name: "more progress", rep: report{fence: 7, progress: new(0.75)}, after: func(r *Record) { r.Progress = new(0.75) }},
		{name: "lower progress", rep: report{fence: 7, progress: new(0.25)}, err: errUnchanged},
		{name: "NaN", rep: report{fence: 7, progress: new(math.NaN())}, err: errUnchanged},
		{name: "progress past 1", rep: report{fence: 7, progress: new(7.0)}, after: func(r *Record) { r.Progress = new(1.0) }},
		{name: "progress below 0", rep: report{fence: 7, progress: new(-7.0)}, err: errUnchanged},
		{name: "reset", rep: report{fence: 7, resetProgress: true}, after: func(r *Record) { r.Progress = nil }},
		{
			name: "reset and lower", rep: report{fence: 7, resetProgress: true, progress: new(0.1)},
			after: func(r *Record) { r.Progress = new(0.1) },
		},
		{name: "reset to the same", rep: report{fence: 7, resetProgress: true, progress: new(0.5)}, err: errUnchanged},
		{name: "reset and NaN", rep: report{fence: 7, resetProgress: true, progress: new(math.NaN())}, after: func(r *Record) { r.Progress = nil }},
		{name: "state", rep: report{fence: 7, state: new("slot 6")}, after: func(r *Record) { r.State = "slot 6" }},
		{name: "state cleared", rep: report{fence: 7, state: new("")}, after: func(r *Record) { r.State = "" }},
		{
			name: "state cut", rep: report{fence: 7, state: new(strings.Repeat("é", 501))},
			after: func(r *Record) { r.State = strings.Repeat("é", 499) + "…" },
		},
		{
			name: "failure keeps the keys", rep: report{fence: 7, status: StatusFailed, state: new("boom"), exitCode: new(3)},
			after: func(r *Record) { r.Status, r.State, r.ExitCode = StatusFailed, "boom", new(3) },
		},
		{
			name: "failure frees the keys if so declared", before: func(r *Record) { r.ReleaseOnFailure = true },
			rep:   report{fence: 7, status: StatusFailed},
			after: func(r *Record) { r.Status, r.Keys = StatusFailed, nil },
		},
		{
			name: "failure with the work going on keeps them all the same", before: func(r *Record) { r.ReleaseOnFailure = true },
			rep:   report{fence: 7, status: StatusFailed, goesOn: true},
			after: func(r *Record) { r.Status, r.GivenUp = StatusFailed, true },
		},
		{
			name: "completion frees the keys", rep: report{fence: 7, status: StatusCompleted},
			after: func(r *Record) { r.Status, r.Keys = StatusCompleted, nil },
		},
		{
			name: "first run", before: func(r *Record) { r.Status, r.StartedAt = StatusPending, 0 },
			rep:   report{fence: 7, status: StatusRunning},
			after: func(r *Record) { r.Status, r.StartedAt = StatusRunning, now },
		},
		{
			name: "heard again", before: func(r *Record) { r.Silence = "no word" },
			rep: report{fence: 7, progress: new(0.5)}, after: func(r *Record) { r.Silence = "" },
		},
		{
			name: "a refused move tells nothing else", before: func(r *Record) { r.Status = StatusPending },
			rep: report{fence: 7, status: StatusCompleted, state: new("x")}, err: &MoveError{StatusPending, StatusCompleted},
		},
		{
			name: "a stale fence says nothing of silence", before: func(r *Record) { r.Silence = "no word" },
			rep: report{fence: 6}, err: ErrStaleFence,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := aRecord(StatusRunning)
			if tt.before != nil {
				tt.before(&r)
			}
			want := r
			checkChange(t, &r, applyReport(&r, tt.rep, now), tt.err)
			if tt.after != nil {
				tt.after(&want)
				want.UpdatedAt = now
				want.Runner = &Runner{ID: "r", Host: "h", PID: 1, HeardAt: now}
			}
			checkRecord(t, r, want)
		})
	}
}

func TestReportAfterGivenUp(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rep   report
		state string
	}{
		{"command succeeded", report{status: StatusCompleted, exitCode: new(0)}, "exit 0"},
		{"function succeeded", report{status: StatusCompleted}, "completed"},
		{"failed", report{status: StatusFailed, state: new("exit status 3"), exitCode: new(3)}, "exit status 3"},
		{"failed without a word", report{status: StatusFailed}, "failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := aRecord(StatusRunning)
			r.ReleaseOnFailure = true
			givenUp(&r)
			rep := tt.rep
			rep.fence = 7
			if err := applyReport(&r, report{fence: 7, progress: new(0.9)}, now); !errors.Is(err, ErrGivenUp) {
				t.Errorf("progress: %v, want ErrGivenUp", err)
			}
			if err := applyReport(&r, rep, now); err != nil {
				t.Fatal(err)
			}
			want := "finished after it was given up: " + tt.state
			if r.Status != StatusFailed || r.State != want || !r.LateEnd || !slices.Equal(r.Keys, []string{"k"}) {
				t.Errorf("after the late end: %+v", r)
			}
			if !reflect.DeepEqual(r.ExitCode, rep.exitCode) {
				t.Errorf("exit code %v", r.ExitCode)
			}
			if r.workMayGoOn() {
				t.Error("the work is known to have ended, but may go on")
			}
			rep.state = new("said twice")
			if err := applyReport(&r, rep, now+1); !errors.Is(err, errUnchanged) || r.State != want {
				t.Errorf("repeated: %v, %q", err, r.State)
			}
		})
	}
}

// What a runner says of a failure that it reported itself.
func TestReportAfterFailure(t *testing.T) {
	for _, tt := range []struct {
		status Status
		err    error
	}{
		{0, &MoveError{StatusFailed, StatusFailed}},
		{StatusRunning, &MoveError{StatusFailed, StatusRunning}},
		{StatusImpacted, &MoveError{StatusFailed, StatusImpacted}},
		{StatusFailed, errUnchanged},
		{StatusCompleted, &MoveError{StatusFailed, StatusCompleted}},
	} {
		r := aRecord(StatusFailed)
		checkChange(t, &r, applyReport(&r, report{fence: 7, status: tt.status, state: new("x")}, now), tt.err)
		checkRecord(t, r, aRecord(StatusFailed))
	}
}

func TestDismiss(t *testing.T) {
	for s := range Status(6) {
		r := aRecord(s)
		want := aRecord(s)
		switch err := dismiss(&r, now); s {
		case StatusFailed:
			checkChange(t, &r, err, nil)
			want.Status, want.Keys, want.UpdatedAt = StatusAborted, nil, now
		case StatusAborted, StatusCompleted:
			checkChange(t, &r, err, ErrUnknown)
		default:
			checkChange(t, &r, err, ErrNotFailed)
		}
		checkRecord(t, r, want)
	}
}

func TestRequestCancel(t *testing.T) {
	for s := range Status(6) {
		r := aRecord(s)
		want := aRecord(s)
		err := requestCancel(&r, "ada", now)
		var not *NotCancellableError
		switch s {
		case StatusAborted, StatusCompleted:
			checkChange(t, &r, err, ErrUnknown)
		case StatusFailed:
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
		before func(*Record)
		fence  uint64
		err    error
	}{
		{"silent", func(r *Record) { r.Silence = "no word" }, 7, nil},
		{"not silent", func(*Record) {}, 7, errUnchanged},
		{"another's by now", func(r *Record) { r.Silence = "no word" }, 6, errUnchanged},
		{"failed by now", func(r *Record) { givenUp(r); r.Silence = "no word" }, 7, errUnchanged},
	} {
		r := aRecord(StatusImpacted)
		tt.before(&r)
		want := r
		checkChange(t, &r, restore(&r, tt.fence, now), tt.err)
		if tt.err == nil {
			want.Silence, want.UpdatedAt = "", now
			want.Runner = &Runner{ID: "r", Host: "h", PID: 1, HeardAt: now}
		}
		checkRecord(t, r, want)
	}
}

func checkChange(t *testing.T, r *Record, err, want error) {
	t.Helper()
	if !errors.Is(err, want) && !reflect.DeepEqual(err, want) {
		t.Errorf("%s: error %v, want %v", r.Status, err, want)
	}
}

func checkRecord(t *testing.T, got, want Record) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
