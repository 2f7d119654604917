package rules

import (
	"reflect"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/wellformed"
)

// aChange draws any change that may be made to a record.
func aChange(t *rapid.T, r *store.Record) Change {
	fence := r.Fence - uint64(rapid.IntRange(0, 4).Draw(t, "stale")/4)
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return Change{Kind: KindDismiss}
	case 1:
		return Change{Kind: KindCancel, By: "ada"}
	case 2:
		return Change{Kind: KindRestore, Fence: fence}
	case 3:
		v := rapid.SampledFrom([]Verdict{
			{}, {Silence: "no word"}, {Silence: "stopped"}, {Failure: "died", ended: true}, {Failure: "not proven dead"},
		}).Draw(t, "verdict")
		return Change{Kind: KindVerdict, Verdict: v}
	}
	rep := Report{
		Fence:         fence,
		Status:        rapid.SampledFrom([]kapi.Status{0, 0, 1, 2, 3, 4, 5}).Draw(t, "status"),
		ResetProgress: rapid.IntRange(0, 4).Draw(t, "reset") == 0,
		NotProvenDead: rapid.Bool().Draw(t, "not proven dead"),
	}
	rep.Progress = rapid.Ptr(rapid.Float64(), true).Draw(t, "progress")
	rep.State = rapid.Ptr(rapid.String(), true).Draw(t, "state")
	rep.ExitCode = rapid.Ptr(rapid.IntRange(0, 255), true).Draw(t, "exit code")
	return Change{Kind: KindReport, Report: rep}
}

// Any sequence of changes keeps the invariants.
func TestRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := aRecord(rapid.SampledFrom([]kapi.Status{kapi.StatusPending, kapi.StatusRunning}).Draw(t, "born"))
		r.ReleaseOnFailure = rapid.Bool().Draw(t, "release on failure")
		for at := then; at < then+40; at++ {
			c := aChange(t, &r)
			before := r
			err := c.applyTo(&r, at)
			if err != nil {
				if !reflect.DeepEqual(before, r) {
					t.Fatalf("%v, but %+v became %+v", err, before, r)
				}
				continue
			}
			checkInvariants(t, &before, &r, c.Report.ResetProgress)
		}
	})
}

func checkInvariants(t *rapid.T, before, after *store.Record, resets bool) {
	fail := func(what string) {
		t.Helper()
		t.Fatalf("%s: %+v became %+v", what, before, after)
	}
	b, a := before.Action, after.Action
	switch {
	case b.Status != a.Status && !b.Status.CanBecome(a.Status):
		fail("a move that the table does not have")
	case !b.Status.Ongoing():
		fail("a disposed action was changed")
	case b.ID != a.ID || b.Title != a.Title || b.Description != a.Description || b.CreatedAt != a.CreatedAt || before.Fence != after.Fence:
		fail("what never changes")
	case !b.Status.Active() && !reflect.DeepEqual(b.Progress, a.Progress):
		fail("progress after the end")
	case !b.Status.Active() && b.State != a.State && (!before.NotProvenDead || !after.LateEnd):
		fail("state after the end")
	case a.Progress != nil && !(*a.Progress >= 0 && *a.Progress <= 1):
		fail("progress out of range")
	case b.Progress != nil && !resets && (a.Progress == nil || *a.Progress < *b.Progress):
		fail("progress fell by itself")
	case !utf8.ValidString(a.State) || utf8.RuneCountInString(a.State) > wellformed.MaxState:
		fail("a state that is not fit")
	case b.StartedAt != 0 && b.StartedAt != a.StartedAt:
		fail("started twice")
	case after.LateEnd && after.NotProvenDead:
		fail("what has reported its end is not proven dead")
	}
	freed := len(b.Keys) > 0 && len(a.Keys) == 0
	ended := b.Status.Active() && !a.Status.Active() || b.Status == kapi.StatusFailed && a.Status == kapi.StatusAborted
	switch {
	case freed && !ended:
		fail("keys freed before the end")
	case freed && a.Status == kapi.StatusFailed && (!after.ReleaseOnFailure || after.NotProvenDead):
		fail("keys freed by a failure that holds them")
	case len(a.Keys) > len(b.Keys):
		fail("keys gained")
	case !a.Status.Ongoing() && len(a.Keys) > 0:
		fail("a disposed action holds a key")
	}
	var shown kapi.Action
	data, err := after.Shown().MarshalJSON()
	if err == nil {
		err = shown.UnmarshalJSON(data)
	}
	if err != nil {
		fail(err.Error())
	}
}
