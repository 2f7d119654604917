package peer

import (
	"context"
	"errors"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
)

// A claimed action is lost when a later runner has it, even if the view never showed that it was claimed here. A record
// from before the claim, of whatever runner, is no loss.
func TestClaimIsLost(t *testing.T) {
	const seq = 5 // of the claim
	by := func(runner string, seq uint64) *store.Record {
		return &store.Record{Action: kapi.Action{ID: "a", Status: kapi.StatusRunning, Seq: seq, Runner: &kapi.Runner{ID: runner}}}
	}
	for name, c := range map[string]struct {
		before, newest *store.Record // noticed before the claim is known to be committed; what the view has then
		after          *store.Record
		lost           bool
	}{
		"an older record":            {before: by("other", 4), newest: by("other", 4), after: by("other", 4)},
		"its own":                    {before: by("other", 4), newest: by("me", 5), after: by("me", 6)},
		"a later runner":             {before: by("other", 4), newest: by("other", 4), after: by("other", 7), lost: true},
		"a later runner, seen early": {before: by("other", 7), newest: by("other", 7), lost: true},
		"gone":                       {before: by("other", 4), newest: &store.Record{}},
	} {
		ops := operations{}
		ops.init("me", nil, func() {})
		ctx, cancel := context.WithCancelCause(t.Context())
		h := &handle{id: "a", cancel: cancel}
		h.claiming.Store(true)
		ops.running["a"] = h
		ops.notice(c.before)
		if ctx.Err() != nil {
			t.Errorf("%s: it is lost before the claim is known", name)
		}
		ops.claimed(h, seq, func(string) (store.Record, bool) {
			if h.claimed.Load() != seq {
				t.Errorf("%s: what changes now is missed", name)
			}
			return *c.newest, c.newest.Seq > 0
		})
		if c.after != nil {
			ops.notice(c.after)
		}
		if lost := errors.Is(context.Cause(ctx), kapi.ErrLost); lost != c.lost {
			t.Errorf("%s: lost %v, want %v", name, lost, c.lost)
		}
		cancel(nil)
	}
}

// The record of the processes is that of the last call, and has none of actions that have ended.
func TestRecordedWork(t *testing.T) {
	ops := operations{}
	ops.init("me", nil, func() {})
	of := func(id string) int { return workOf(&store.RunnerRecord{Work: ops.recordedWork()})[id].Root.PID }
	h := &handle{id: "a"}
	if err := ops.register(h); err != nil {
		t.Fatal(err)
	}
	for pid := 1; pid <= 2; pid++ {
		ops.recordWork("a", proc.Work{Root: proc.Ref{PID: pid}})
		ops.recordWork("b", proc.Work{Root: proc.Ref{PID: 10}})
		if a, b := of("a"), of("b"); a != pid || b != 10 {
			t.Errorf("processes %d and %d are recorded, want %d and 10", a, b, pid)
		}
	}
	ops.unregister(h)
	if a, b := of("a"), of("b"); a != 0 || b != 10 {
		t.Errorf("after the end of an action, processes %d and %d are recorded", a, b)
	}
}
