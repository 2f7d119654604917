package rules

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/wellformed"
)

const (
	aLease     = 15 * time.Second
	aGiveUp    = 2 * time.Minute
	noWordText = "no word from bot-1 since 2023-11-14T22:13:20Z"
)

// What life, remains and silence mean together.
func TestJudge(t *testing.T) {
	survivors := []Process{{12, "redis-cli"}, {15, "sh"}}
	type outcome struct {
		name string
		v    Verdict
	}
	nothing := outcome{"nothing", Verdict{}}
	silent := outcome{"silent", Verdict{Silence: noWordText, blind: true}}
	alive := outcome{"alive", Verdict{Silence: noWordText + "; process 4711 is alive"}}
	stopped := outcome{"stopped", Verdict{Silence: noWordText + "; process 4711 is stopped"}}
	left := outcome{"survivors", Verdict{
		Silence: "its runner (process 4711 on bot-1) is gone; still running: 12 (redis-cli), 15 (sh)",
	}}
	dead := outcome{"dead", Verdict{Failure: "its runner died: process 4711 on bot-1 is gone", ended: true, cause: "process 4711 on bot-1 is gone"}}
	restarted := outcome{"restarted", Verdict{Failure: "its runner died: bot-1 was restarted", ended: true, cause: "bot-1 was restarted"}}
	unproven := outcome{"not proven dead", Verdict{Failure: noWordText + "; not proven dead", cause: noWordText}}
	leftAlone := outcome{"not proven dead", Verdict{Failure: noWordText + "; not proven dead"}}

	const gone = "its runner (process 4711 on bot-1) is gone; "
	maybe := outcome{"may live", Verdict{Silence: gone + "may still be running: 12 (redis-cli)"}}
	notProven := outcome{"not proven dead", Verdict{Failure: gone + "may still be running: 12 (redis-cli); not proven dead"}}
	unseen := gone + "what it started may still be running, and can't be seen from here"
	hasty := outcome{"may live, as far as can be told yet", Verdict{Silence: maybe.v.Silence, blind: true}}
	hidden := outcome{"hidden", Verdict{Silence: unseen}}
	hiddenLong := outcome{"not proven dead", Verdict{Failure: unseen + "; not proven dead"}}

	silences := []time.Duration{0, aLease - 1, aLease, aGiveUp - 1, aGiveUp, 24 * time.Hour}
	for _, tt := range []struct {
		name      string
		ev        Evidence
		verdicts  [6]outcome // one for each of silences
		survivors []Process
	}{
		{
			name: "unknown", ev: Evidence{Life: LifeUnknown},
			verdicts: [6]outcome{nothing, nothing, silent, silent, unproven, unproven},
		},
		{
			// A pid that is unknown proves nothing, whatever processes of the work are left.
			name: "unknown with survivors", ev: Evidence{Life: LifeUnknown, Remains: Remains{Sure: survivors}},
			verdicts: [6]outcome{nothing, nothing, silent, silent, leftAlone, leftAlone},
		},
		{
			name: "alive", ev: Evidence{Life: LifeAlive},
			verdicts: [6]outcome{nothing, nothing, alive, alive, alive, alive},
		},
		{
			name: "stopped", ev: Evidence{Life: LifeAlive, Stopped: true},
			verdicts: [6]outcome{nothing, nothing, stopped, stopped, stopped, stopped},
		},
		{
			name: "gone", ev: Evidence{Life: LifeGone},
			verdicts: [6]outcome{dead, dead, dead, dead, dead, dead},
		},
		{
			name: "gone with survivors", ev: Evidence{Life: LifeGone, Remains: Remains{Sure: survivors, Maybe: survivors[:1]}},
			verdicts: [6]outcome{left, left, left, left, left, left},
		},
		{
			name: "gone, and what could be its own can't be told", ev: Evidence{Life: LifeGone, Remains: Remains{Maybe: survivors[:1]}},
			verdicts: [6]outcome{maybe, maybe, maybe, maybe, notProven, notProven},
		},
		{
			name:     "gone, and what could be its own is about to execute a program",
			ev:       Evidence{Life: LifeGone, Remains: Remains{Maybe: survivors[:1], Starting: true}},
			verdicts: [6]outcome{nothing, nothing, hasty, hasty, notProven, notProven},
		},
		{
			name: "gone, and what could be its own is hidden", ev: Evidence{Life: LifeGone, Remains: Remains{Hidden: true}},
			verdicts: [6]outcome{hidden, hidden, hidden, hidden, hiddenLong, hiddenLong},
		},
		{
			name: "restarted", ev: Evidence{Life: LifeGone, Restarted: true},
			verdicts: [6]outcome{restarted, restarted, restarted, restarted, restarted, restarted},
		},
	} {
		for i, silence := range silences {
			ev := tt.ev
			ev.Host, ev.PID, ev.HeardAt = "bot-1", 4711, 1700000000000
			ev.Silent, ev.Lease, ev.GiveUp = silence, aLease, aGiveUp
			for s := range kapi.Status(6) {
				for _, declared := range []bool{false, true} {
					r := aRecord(s)
					r.ReleaseOnFailure = declared
					want := tt.verdicts[i]
					if !s.Active() {
						want = nothing
					}
					if s == kapi.StatusFailed && want.v.ended {
						r.NotProvenDead = true
						want.v = Verdict{Proven: strings.TrimPrefix(want.v.Failure, "its runner died: ")}
					}
					if got := Judge(&r, ev); got != want.v {
						t.Errorf("%s, %s, silent for %v: %+v, want %s %+v", tt.name, s, silence, got, want.name, want.v)
					}
				}
			}
		}
	}
}

// The text of a verdict must fit into the state of an action.
func TestJudgeManySurvivors(t *testing.T) {
	ev := Evidence{Life: LifeGone, Host: "h", Remains: Remains{Sure: make([]Process, 500)}}
	r := aRecord(kapi.StatusRunning)
	if v := Judge(&r, ev); len([]rune(v.Silence)) != wellformed.MaxState {
		t.Errorf("%d characters", len([]rune(v.Silence)))
	}
}

func TestAccept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(*store.Record)
		v      Verdict
		err    error
		after  func(*store.Record)
	}{
		{name: "nothing", err: errUnchanged},
		{name: "silent", v: Verdict{Silence: "no word"}, after: func(r *store.Record) { r.Silence = "no word" }},
		{
			name: "silent as before", before: func(r *store.Record) { r.Silence = "no word" },
			v: Verdict{Silence: "no word"}, err: errUnchanged,
		},
		{
			name: "silent otherwise", before: func(r *store.Record) { r.Silence, r.UpdatedAt = "no word", now-restatedEvery },
			v: Verdict{Silence: "stopped"}, after: func(r *store.Record) { r.Silence = "stopped" },
		},
		{
			name: "silent otherwise, as somebody else has just said", before: func(r *store.Record) { r.Silence, r.UpdatedAt = "stopped", now-restatedEvery+1 },
			v: Verdict{Silence: "still running"}, err: errUnchanged,
		},
		{
			name: "silent, to one who sees nothing", before: func(r *store.Record) { r.Silence, r.UpdatedAt = "still running", now-restatedEvery },
			v: Verdict{Silence: "no word", blind: true}, err: errUnchanged,
		},
		{
			name: "proven dead", v: Verdict{Failure: "died", ended: true},
			after: func(r *store.Record) { r.Status, r.State = kapi.StatusFailed, "died; it last said: slot 5" },
		},
		{
			name: "proven dead, silent before", before: func(r *store.Record) { r.Silence, r.State = "no word", "" },
			v:     Verdict{Failure: "died", ended: true},
			after: func(r *store.Record) { r.Status, r.State, r.Silence = kapi.StatusFailed, "died", "" },
		},
		{
			name: "proven dead, to release", before: func(r *store.Record) { r.ReleaseOnFailure = true },
			v: Verdict{Failure: "died", ended: true},
			after: func(r *store.Record) {
				r.Status, r.State, r.Keys = kapi.StatusFailed, "died; it last said: slot 5", nil
			},
		},
		{
			name: "not proven dead keeps the keys", before: func(r *store.Record) { r.ReleaseOnFailure = true },
			v: Verdict{Failure: "not proven dead"},
			after: func(r *store.Record) {
				r.Status, r.State, r.NotProvenDead = kapi.StatusFailed, "not proven dead; it last said: slot 5", true
			},
		},
		{
			name: "pending", before: func(r *store.Record) { r.Status = kapi.StatusPending },
			v:     Verdict{Failure: "died", ended: true},
			after: func(r *store.Record) { r.Status, r.State = kapi.StatusFailed, "died; it last said: slot 5" },
		},
		{
			name: "failed by now", before: func(r *store.Record) { r.Status = kapi.StatusFailed },
			v: Verdict{Failure: "died", ended: true}, err: errUnchanged,
		},
		{
			name: "completed by now", before: func(r *store.Record) { r.Status = kapi.StatusCompleted },
			v: Verdict{Silence: "no word"}, err: errUnchanged,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := aRecord(kapi.StatusRunning)
			if tt.before != nil {
				tt.before(&r)
			}
			want := r
			if err := applyVerdict(&r, tt.v, now); !errors.Is(err, tt.err) {
				t.Errorf("%v, want %v", err, tt.err)
			}
			if tt.after != nil {
				tt.after(&want)
				want.UpdatedAt = now // HeardAt stays: the runner was not heard
			}
			checkRecord(t, r, want)
		})
	}
}

// Silence is an overlay: what the runner last said is kept under it.
func TestShown(t *testing.T) {
	for s := range kapi.Status(6) {
		r := aRecord(s)
		r.Silence = "no word"
		want := map[kapi.Status]kapi.Status{kapi.StatusRunning: kapi.StatusImpacted}[s]
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
