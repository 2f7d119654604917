package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
)

// A Crowd says which ongoing actions, and how many of each kind, Fill puts into a store.
type Crowd struct {
	// Running is how many run. They have a runner each, all of them with the process that calls Fill, and
	// hold a key each.
	Running int
	// Remote is how many run at runners that report to a server, and which stay within their leases.
	Remote int
	// Dead is how many have runners whose process is gone.
	Dead int
	// Failed is how many have failed and wait to be dismissed. They hold a key each.
	Failed int
	// OneQueue is how many wait for one key, which a running action holds.
	OneQueue int
	// Queues is how many wait for a key each, which a running action holds.
	Queues int
	// Ended is how many have ended.
	Ended int
}

// lease is so long that no runner of a crowd falls silent.
const lease = 24 * time.Hour

// filling is what Fill writes in one transaction.
const filling = 1000

// Fill adds a crowd to a store.
func Fill(ctx context.Context, s store.Store, c Crowd) error {
	f := &filler{now: time.Now().UnixMilli(), self: proc.Self(), gone: proc.Self()}
	f.gone.PID, f.gone.StartTime = 1<<22-1, 1
	kinds := []struct {
		n   int
		add func(i int)
	}{
		{c.Running, func(i int) { f.run(f.runner(f.self), fmt.Sprint("running-", i)) }},
		{c.Remote, func(int) { f.run(f.runner(proc.Identity{Host: "elsewhere"})) }},
		{c.Dead, func(int) { f.run(f.runner(f.gone)) }},
		{c.Failed, func(i int) { f.fail(f.runner(f.self), fmt.Sprint("failed-", i)) }},
		{min(c.OneQueue, 1), func(int) { f.run(f.runner(f.self), "queue") }},
		{c.OneQueue, func(int) { f.wait(f.runner(f.self), "queue") }},
		{c.Queues, func(i int) {
			key := fmt.Sprint("queue-", i)
			f.run(f.runner(f.self), key)
			f.wait(f.runner(f.self), key)
		}},
		{c.Ended, func(int) { f.end(f.runner(f.self)) }},
	}
	for _, kind := range kinds {
		for i := range kind.n {
			kind.add(i)
			if len(f.records) >= filling {
				if err := f.flush(ctx, s); err != nil {
					return err
				}
			}
		}
	}
	return f.flush(ctx, s)
}

// A filler collects what goes into the next transaction.
type filler struct {
	now        int64
	self, gone proc.Identity
	made       int
	records    []store.Record
	runners    []store.RunnerRecord
}

func (f *filler) runner(p proc.Identity) *kapi.Runner {
	r := store.RunnerRecord{
		ID: newID(), Host: p.Host, PID: p.PID, BootID: p.BootID, PIDNamespace: p.PIDNamespace, StartTime: p.StartTime, Lease: lease,
		HeardAt: f.now,
	}
	f.runners = append(f.runners, r)
	return &kapi.Runner{ID: r.ID, Host: r.Host, PID: r.PID, HeardAt: f.now}
}

func (f *filler) add(status kapi.Status, by *kapi.Runner, change func(*store.Record)) {
	f.made++
	half := 0.5
	r := store.Record{Action: kapi.Action{
		ID: newID(), Title: fmt.Sprintf("Import part %d", f.made), Description: "One of many, as a nightly import has them.",
		CreatedAt: f.now, UpdatedAt: f.now, StartedAt: f.now, Status: status, Progress: &half, State: "reading lines", Runner: by,
	}}
	change(&r)
	f.records = append(f.records, r)
}

func (f *filler) run(by *kapi.Runner, keys ...string) {
	f.add(kapi.StatusRunning, by, func(r *store.Record) { r.Keys = keys })
}

func (f *filler) fail(by *kapi.Runner, keys ...string) {
	f.add(kapi.StatusFailed, by, func(r *store.Record) { r.Keys, r.State = keys, "exit status 1" })
}

func (f *filler) wait(by *kapi.Runner, keys ...string) {
	f.add(kapi.StatusPending, by, func(r *store.Record) {
		r.Waits, r.StartedAt, r.Progress, r.Ticket = keys, 0, nil, 1 // its seq, see flush
		r.State = `waits for "Import part 1"`
		r.WaitsFor = &kapi.WaitsFor{Key: keys[0]}
	})
}

func (f *filler) end(by *kapi.Runner) { f.add(kapi.StatusCompleted, by, func(*store.Record) {}) }

// flush writes what was collected.
func (f *filler) flush(ctx context.Context, s store.Store) error {
	if len(f.records) == 0 {
		return nil
	}
	err := s.Commit(ctx, store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
		w := store.Writes{Head: l.Seq, Runners: f.runners}
		for _, r := range f.records {
			w.Head++
			r.Seq, r.Fence = w.Head, w.Head
			if r.Ticket != 0 {
				r.Ticket = w.Head
			}
			for _, key := range r.Keys {
				w.Claim = append(w.Claim, store.Claim{Key: key, Action: r.ID})
			}
			w.Insert = append(w.Insert, r)
		}
		return w, nil
	})
	f.records, f.runners = nil, nil
	return err
}

func newID() string { return strings.ToLower(rand.Text()) }
