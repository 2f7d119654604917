package kapi

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	aLease     = 15 * time.Second
	aGiveUp    = 2 * time.Minute
	noWordText = "no word from bot-1 since 2023-11-14T22:13:20Z"
)

// Rule 4 of the design: what life, survivors and silence mean together.
func TestJudge(t *testing.T) {
	survivors := []process{{12, "redis-cli"}, {15, "sh"}}
	type outcome struct {
		name string
		v    verdict
	}
	nothing := outcome{"nothing", verdict{}}
	silent := outcome{"silent", verdict{silence: noWordText, blind: true}}
	alive := outcome{"alive", verdict{silence: noWordText + "; process 4711 is alive"}}
	stopped := outcome{"stopped", verdict{silence: noWordText + "; process 4711 is stopped"}}
	left := outcome{"survivors", verdict{
		silence: "its runner (process 4711 on bot-1) is gone; still running: 12 (redis-cli), 15 (sh)",
	}}
	dead := outcome{"dead", verdict{failure: "its runner died: process 4711 on bot-1 is gone", ended: true}}
	restarted := outcome{"restarted", verdict{failure: "its runner died: bot-1 was restarted", ended: true}}
	unproven := outcome{"given up", verdict{failure: noWordText + "; not proven dead"}}

	const gone = "its runner (process 4711 on bot-1) is gone; "
	maybe := outcome{"may live", verdict{silence: gone + "may still be running: 12 (redis-cli)"}}
	notProven := outcome{"given up", verdict{failure: gone + "may still be running: 12 (redis-cli); not proven dead"}}
	unseen := gone + "what it started may still be running, and can't be seen from here"
	hidden := outcome{"hidden", verdict{silence: unseen}}
	hiddenLong := outcome{"given up", verdict{failure: unseen + "; not proven dead"}}

	silences := []time.Duration{0, aLease - 1, aLease, aGiveUp - 1, aGiveUp, 24 * time.Hour}
	for _, tt := range []struct {
		name      string
		ev        evidence
		verdicts  [6]outcome // by silences
		survivors []process
	}{
		{
			name: "unknown", ev: evidence{life: lifeUnknown},
			verdicts: [6]outcome{nothing, nothing, silent, silent, unproven, unproven},
		},
		{
			// A pid that is unknown proves nothing, whatever still carries the action.
			name: "unknown with survivors", ev: evidence{life: lifeUnknown, remains: remains{sure: survivors}},
			verdicts: [6]outcome{nothing, nothing, silent, silent, unproven, unproven},
		},
		{
			name: "alive", ev: evidence{life: lifeAlive},
			verdicts: [6]outcome{nothing, nothing, alive, alive, alive, alive},
		},
		{
			name: "stopped", ev: evidence{life: lifeAlive, stopped: true},
			verdicts: [6]outcome{nothing, nothing, stopped, stopped, stopped, stopped},
		},
		{
			name: "gone", ev: evidence{life: lifeGone},
			verdicts: [6]outcome{dead, dead, dead, dead, dead, dead},
		},
		{
			name: "gone with survivors", ev: evidence{life: lifeGone, remains: remains{sure: survivors, maybe: survivors[:1]}},
			verdicts: [6]outcome{left, left, left, left, left, left},
		},
		{
			name: "gone, and what could be its own can't be told", ev: evidence{life: lifeGone, remains: remains{maybe: survivors[:1]}},
			verdicts: [6]outcome{maybe, maybe, maybe, maybe, notProven, notProven},
		},
		{
			name: "gone, and what could be its own is hidden", ev: evidence{life: lifeGone, remains: remains{hidden: true}},
			verdicts: [6]outcome{hidden, hidden, hidden, hidden, hiddenLong, hiddenLong},
		},
		{
			name: "restarted", ev: evidence{life: lifeGone, restarted: true},
			verdicts: [6]outcome{restarted, restarted, restarted, restarted, restarted, restarted},
		},
	} {
		for i, silence := range silences {
			ev := tt.ev
			ev.host, ev.pid, ev.heardAt = "bot-1", 4711, 1700000000000
			ev.silent, ev.lease, ev.giveUp = silence, aLease, aGiveUp
			for s := range Status(6) {
				for _, declared := range []bool{false, true} {
					r := aRecord(s)
					r.ReleaseOnFailure = declared
					want := tt.verdicts[i]
					if !s.Active() {
						want = nothing
					}
					if s == StatusFailed && want.v.ended {
						r.GivenUp = true
						want.v = verdict{proven: strings.TrimPrefix(want.v.failure, "its runner died: ")}
					}
					if got := judge(&r, ev); got != want.v {
						t.Errorf("%s, %s, silent for %v: %+v, want %s %+v", tt.name, s, silence, got, want.name, want.v)
					}
				}
			}
		}
	}
}

// The state of an action must hold what its verdict says.
func TestJudgeManySurvivors(t *testing.T) {
	ev := evidence{life: lifeGone, host: "h", remains: remains{sure: make([]process, 500)}}
	r := aRecord(StatusRunning)
	if v := judge(&r, ev); len([]rune(v.silence)) != MaxState {
		t.Errorf("%d characters", len([]rune(v.silence)))
	}
}

func TestAccept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(*Record)
		v      verdict
		err    error
		after  func(*Record)
	}{
		{name: "nothing", err: errUnchanged},
		{name: "silent", v: verdict{silence: "no word"}, after: func(r *Record) { r.Silence = "no word" }},
		{
			name: "silent as before", before: func(r *Record) { r.Silence = "no word" },
			v: verdict{silence: "no word"}, err: errUnchanged,
		},
		{
			name: "silent otherwise", before: func(r *Record) { r.Silence, r.UpdatedAt = "no word", now-restatedEvery },
			v: verdict{silence: "stopped"}, after: func(r *Record) { r.Silence = "stopped" },
		},
		{
			name: "silent otherwise, as somebody else has just said", before: func(r *Record) { r.Silence, r.UpdatedAt = "stopped", now-restatedEvery+1 },
			v: verdict{silence: "still running"}, err: errUnchanged,
		},
		{
			name: "silent, to one who sees nothing", before: func(r *Record) { r.Silence, r.UpdatedAt = "still running", now-restatedEvery },
			v: verdict{silence: "no word", blind: true}, err: errUnchanged,
		},
		{
			name: "proven dead", v: verdict{failure: "died", ended: true},
			after: func(r *Record) { r.Status, r.State = StatusFailed, "died; it last said: slot 5" },
		},
		{
			name: "proven dead, silent before", before: func(r *Record) { r.Silence, r.State = "no word", "" },
			v:     verdict{failure: "died", ended: true},
			after: func(r *Record) { r.Status, r.State, r.Silence = StatusFailed, "died", "" },
		},
		{
			name: "proven dead, to release", before: func(r *Record) { r.ReleaseOnFailure = true },
			v:     verdict{failure: "died", ended: true},
			after: func(r *Record) { r.Status, r.State, r.Keys = StatusFailed, "died; it last said: slot 5", nil },
		},
		{
			name: "given up keeps the keys", before: func(r *Record) { r.ReleaseOnFailure = true },
			v: verdict{failure: "not proven dead"},
			after: func(r *Record) {
				r.Status, r.State, r.GivenUp = StatusFailed, "not proven dead; it last said: slot 5", true
			},
		},
		{
			name: "pending", before: func(r *Record) { r.Status = StatusPending },
			v:     verdict{failure: "died", ended: true},
			after: func(r *Record) { r.Status, r.State = StatusFailed, "died; it last said: slot 5" },
		},
		{
			name: "failed by now", before: func(r *Record) { r.Status = StatusFailed },
			v: verdict{failure: "died", ended: true}, err: errUnchanged,
		},
		{
			name: "completed by now", before: func(r *Record) { r.Status = StatusCompleted },
			v: verdict{silence: "no word"}, err: errUnchanged,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := aRecord(StatusRunning)
			if tt.before != nil {
				tt.before(&r)
			}
			want := r
			if err := applyVerdict(&r, tt.v, now); !errors.Is(err, tt.err) {
				t.Errorf("%v, want %v", err, tt.err)
			}
			if tt.after != nil {
				tt.after(&want)
				want.UpdatedAt = now // but HeardAt stays: nobody was heard
			}
			checkRecord(t, r, want)
		})
	}
}

// Silence is an overlay: what the runner last said is kept under it.
func TestShown(t *testing.T) {
	for s := range Status(6) {
		r := aRecord(s)
		r.Silence = "no word"
		want := map[Status]Status{StatusRunning: StatusImpacted}[s]
		if want == 0 {
			want = s
		}
		state := "slot 5"
		if s.Active() {
			state = "no word"
		}
		if a := r.Shown(); a.Status != want || a.State != state {
			t.Errorf("%s is shown as %s, %q", s, a.Status, a.State)
		}
		if r.Status != s || r.State != "slot 5" {
			t.Errorf("%s: showing it changed the record", s)
		}
	}
}
