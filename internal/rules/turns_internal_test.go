package rules

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

const aLimit = 3

// An office is a store with actions of a limited operation, and all runners that they ever had.
type office struct {
	*rapid.T
	world   *world
	seq     uint64
	marks   map[string]store.CheckpointMark
	runners map[string]map[uint64]string // of each action, by fence
	drawn   int
}

// For any starts, claims, kills, cancels, pauses, failures and dismissals: the turns in use are those of the live work,
// every free turn is given to the first that can use it, an action never has two runners at one fence, and its fences
// grow. A runner that was replaced changes nothing. A light peer makes the same plans.
func TestTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := &office{t, aWorld(), 10, map[string]store.CheckpointMark{}, map[string]map[uint64]string{}, 0}
		for range rapid.IntRange(1, 40).Draw(t, "rounds") {
			o.transact()
		}
	})
}

func (o *office) transact() {
	l := store.Loaded{Page: store.Page{Head: store.Head{Epoch: "e", Seq: o.seq}}, Marks: maps.Clone(o.marks)}
	pl := plannedOn(o.world, l)
	var changes []*Change
	var outcomes, named []string
	for range rapid.IntRange(1, 3).Draw(o.T, "batch") {
		c := o.draw(pl)
		outcome := o.add(pl, c)
		changes, outcomes = append(changes, c), append(outcomes, fmt.Sprint(outcome.Err, outcome.Changed))
		for _, id := range []string{c.ID, continuedBy(c)} {
			if _, ok := o.world.records[id]; ok {
				named = append(named, id)
			}
		}
	}
	writes, records := pl.Writes()
	planLightly(o.T, o.world, l, changes, named, func(lightOutcomes []string, lightRecords []store.Record) {
		if !slices.Equal(lightOutcomes, outcomes) || !reflect.DeepEqual(lightRecords, records) {
			o.Fatalf("the plan of a light peer differs:\n%q\n%+v\n%q\n%+v", lightOutcomes, lightRecords, outcomes, records)
		}
	})
	for _, saved := range writes.Saved {
		o.marks[saved.Action] = store.CheckpointMark{Saves: o.marks[saved.Action].Saves + 1, Version: saved.Version}
	}
	o.checkFences(records)
	o.world.apply(records)
	o.seq = writes.Head
	o.checkTurns()
	o.checkQueue()
}

func continuedBy(c *Change) string {
	if c.Action == nil || c.Action.Defined == nil {
		return ""
	}
	return c.Action.Defined.Continues
}

// add adds a change to the plan. If it names a fence at which the action had another runner than now, it must be
// refused.
func (o *office) add(pl *Plan, c *Change) Outcome {
	byFence := []Kind{KindReport, KindSave, KindVacate, KindForbid, KindRestore, KindAbandon}
	old := pl.lookup(c.ID)
	runner, had := o.runners[c.ID][max(c.Fence, c.Report.Fence)]
	nobody := had && runner == "" && old.NotProvenDead // it has failed while it was vacant: no runner has this fence
	if had && slices.Contains(byFence, c.Kind) && runner != old.RunnerID() && !nobody {
		before := *old
		outcome := pl.Add(c)
		if now := pl.lookup(c.ID); outcome.Changed || !reflect.DeepEqual(*now, before) {
			o.Fatalf("%+v by a stale fence changed %+v to %+v", c, before, now)
		}
		return outcome
	}
	return pl.Add(c)
}

// checkFences checks what changed about the runners, before it is applied.
func (o *office) checkFences(records []store.Record) {
	for _, r := range records {
		old, known := o.world.records[r.ID]
		switch {
		case known && old.Defined.Last != nil && r.Fence == old.Fence && r.RunnerID() == old.Defined.Last.ID && !r.Status.Active():
			o.runners[r.ID][r.Fence] = r.RunnerID() // it has failed while it was vacant, which brings back its last runner
		case known && r.Fence != old.Fence && r.Fence <= o.seq:
			o.Fatalf("the fence of %s went from %d to %d, at %d", r.ID, old.Fence, r.Fence, o.seq)
		case known && r.Fence == old.Fence && r.RunnerID() != old.RunnerID():
			o.Fatalf("at fence %d %s had the runner %s, and has %s", r.Fence, r.ID, old.RunnerID(), r.RunnerID())
		}
		if o.runners[r.ID] == nil {
			o.runners[r.ID] = map[uint64]string{}
		}
		if before, had := o.runners[r.ID][r.Fence]; had && before != r.RunnerID() {
			o.Fatalf("at fence %d %s has had the runner %s, and has %s", r.Fence, r.ID, before, r.RunnerID())
		}
		o.runners[r.ID][r.Fence] = r.RunnerID()
	}
}

// checkTurns checks that the turns in use are those of the live work.
func (o *office) checkTurns() {
	has := map[int]string{}
	for id, r := range o.world.records {
		live := r.Status == kapi.StatusRunning || r.Status == kapi.StatusImpacted || // working, or waiting for another runner
			r.Status == kapi.StatusPending && !r.Defined.Unclaimed && !r.Waiting() || // about to begin
			r.Status == kapi.StatusFailed && r.NotProvenDead // maybe still working
		turn := r.Defined.Turn
		switch {
		case live && (turn < 1 || turn > aLimit), !live && turn != 0:
			o.Fatalf("it has turn %d: %+v, %+v", turn, r, r.Defined)
		case turn != 0 && has[turn] != "":
			o.Fatalf("both %s and %s have turn %d", id, has[turn], turn)
		case turn != 0:
			has[turn] = id
		}
	}
}

// checkQueue checks that no action waits that could have its keys and its turn.
func (o *office) checkQueue() {
	free := aLimit
	for _, r := range o.world.records {
		free -= min(r.Defined.Turn, 1)
	}
	wanted := map[string]bool{}
	for _, r := range slices.SortedFunc(maps.Values(o.world.records), func(a, b store.Record) int { return byTicket(&a, &b) }) {
		if !r.Eligible() {
			continue
		}
		blocked := false
		for _, key := range needOf(&r).keys {
			holder := o.world.Holder(key)
			takesOver := holder != "" && holder == r.Defined.Continues
			blocked = blocked || holder != "" && !takesOver || wanted[key] && !takesOver
			wanted[key] = true
		}
		if !blocked && free > 0 {
			o.Fatalf("%d turns are free, and %s waits: %+v, %+v", free, r.ID, r, r.Defined)
		}
	}
}

// draw draws a change.
func (o *office) draw(pl *Plan) *Change {
	ids := slices.Collect(maps.Keys(o.world.records))
	for id := range pl.touched {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	o.drawn++
	kind := rapid.SampledFrom([]string{
		"start", "start", "start", "start", "claim", "claim", "claim", "begin", "begin", "impacted", "complete", "fail", "dead", "dead", "silent", "long silent", "cancel",
		"pause", "unpause", "dismiss", "dismiss", "vacate", "abandon", "save", "restore", "forbid", "give up",
	}).Draw(o.T, "kind")
	if kind == "start" || len(ids) == 0 {
		return o.drawStart(ids)
	}
	id := rapid.SampledFrom(ids).Draw(o.T, "id")
	r := pl.lookup(id)
	fence := r.Fence
	if old := slices.Sorted(maps.Keys(o.runners[id])); len(old) > 0 && rapid.IntRange(0, 3).Draw(o.T, "is old") == 0 {
		fence = rapid.SampledFrom(old).Draw(o.T, "fence")
	}
	if status, ok := map[string]kapi.Status{
		"begin": kapi.StatusRunning, "impacted": kapi.StatusImpacted, "complete": kapi.StatusCompleted, "fail": kapi.StatusFailed,
	}[kind]; ok {
		rep := Report{Fence: fence, Status: status, Parked: kind == "impacted" && r.PausedBy != ""}
		rep.NotProvenDead = kind == "fail" && rapid.IntRange(0, 3).Draw(o.T, "not proven dead") == 0
		return &reporting(id, rep).Change
	}
	if ev, ok := map[string]Evidence{
		"dead": {Life: LifeGone}, "silent": {Silent: aLease}, "long silent": {Silent: aGiveUp},
	}[kind]; ok && r.Runner != nil {
		ev.Host, ev.PID, ev.Lease, ev.GiveUp = "h", 5, aLease, aGiveUp
		return &judged(id, Judge(r, ev)).Change
	}
	c := &Change{ID: id, Fence: fence, By: "ann", Reason: "in time", Saved: []store.Saved{{Name: "x", Data: []byte("1")}}}
	c.Kind = map[string]Kind{
		"claim": KindClaim, "cancel": KindCancel, "pause": KindPause, "unpause": KindContinue, "dismiss": KindDismiss,
		"vacate": KindVacate, "abandon": KindAbandon, "save": KindSave, "restore": KindRestore, "forbid": KindForbid,
		"give up": KindGiveUp, "dead": KindClaim, "silent": KindClaim, "long silent": KindClaim, // nobody is there to be judged
	}[kind]
	if c.Kind == KindClaim {
		c.Action = o.drawStart(nil).Action
	}
	return c
}

func (o *office) drawStart(ids []string) *Change {
	id := fmt.Sprintf("%03d", o.drawn)
	c := &starting(id, rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b"}), 0, 1, rapid.ID).Draw(o.T, "keys")...).Change
	c.Action.Operation = "reshard"
	c.Action.Runner = &kapi.Runner{ID: "runner " + id, Host: "h", PID: 5}
	c.Action.Defined = &store.Defined{Limit: aLimit, Origin: id, Resumable: rapid.IntRange(0, 3).Draw(o.T, "resumable") > 0}
	if ids == nil {
		return c
	}
	c.Wait = rapid.IntRange(0, 3).Draw(o.T, "wait") > 0
	switch rapid.IntRange(0, 3).Draw(o.T, "how") {
	case 0:
		c.Action.Defined.Unclaimed, c.Action.Defined.MayWait = true, c.Wait
		c.Action.Keys, c.Action.Runner = nil, nil
	case 1:
		c.Action.Status = kapi.StatusPending
	}
	if len(ids) > 0 && rapid.IntRange(0, 2).Draw(o.T, "continues") == 0 {
		c.Action.Defined.Continues = rapid.SampledFrom(ids).Draw(o.T, "continued")
	}
	return c
}
