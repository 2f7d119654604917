package peer_test

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// Scenes use the default limits.
const (
	sceneLease  = 15 * time.Second
	sceneGiveUp = 2 * time.Minute
)

// A scene is a store in a synctest bubble, with a peer that watches the runners of other processes.
// The runners are only records in the store.
type scene struct {
	t      *testing.T
	store  *sqlite.Store // without a link
	link   *link         // of the watcher
	began  time.Time
	slept  atomic.Int64  // how long the machine has slept: time since boot that the bubble doesn't have
	uptime time.Duration // time since boot when the scene begins
	k      *peer.Peer    // the watcher
}

// play plays a scene. The watcher is not opened yet.
func play(t *testing.T, f func(*testing.T, *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t).Store
		f(t, &scene{t: t, store: store, link: &link{Store: store}, began: time.Now()})
	})
}

// open opens the watcher. It sweeps at whole seconds.
func (s *scene) open() { s.k = s.openPeer(s.link, peer.Options{}) }

// openPeer opens a peer that logs nothing, because outages of hours would fill the log.
func (s *scene) openPeer(store store.Store, o peer.Options) *peer.Peer {
	s.t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	return openPeer(s.t, store, o.WithClock(s.sinceBoot, s.awake))
}

// sinceBoot is the clock of all peers of the scene.
func (s *scene) sinceBoot() time.Duration {
	return time.Since(s.began) + s.uptime + time.Duration(s.slept.Load())
}

// awake is the time since boot without the time that the machine has slept.
func (s *scene) awake() time.Duration { return time.Since(s.began) + s.uptime }

// suspend lets the machine sleep, which the bubble's timers don't notice.
func (s *scene) suspend(d time.Duration) { s.slept.Add(int64(d)) }

// now returns the time since the scene began, in whole seconds.
func (s *scene) now() time.Duration { return time.Since(s.began).Truncate(time.Second) }

// at waits for a moment of the scene, and for the end of its sweeps.
func (s *scene) at(moment time.Duration) {
	time.Sleep(time.Until(s.began.Add(moment + time.Second/4)))
	synctest.Wait()
}

// stranger returns a runner about whose process nothing can be proven, because it is on another machine.
// Everything else is as of a live process.
func stranger() store.RunnerRecord {
	me := proc.Self()
	return store.RunnerRecord{
		ID: "other", Host: "bot-2", PID: me.PID,
		BootID: "0b5e8c1e-0000-4000-8000-000000000000", PIDNamespace: me.PIDNamespace, StartTime: me.StartTime,
		Lease: sceneLease,
	}
}

// leave puts a running action of a runner into the store. Its state is "slot 5", and it releases its
// keys on failure.
func (s *scene) leave(runner store.RunnerRecord, change ...func(*store.Record)) store.Record {
	s.t.Helper()
	now := time.Now().UnixMilli()
	r := store.Record{
		Action: kapi.Action{
			Title: "Resharding", CreatedAt: now, UpdatedAt: now, StartedAt: now,
			Status: kapi.StatusRunning, State: "slot 5", Keys: []string{"reshard"},
			Runner: &kapi.Runner{ID: runner.ID, Host: runner.Host, PID: runner.PID, HeardAt: now},
		},
		ReleaseOnFailure: true,
	}
	for _, f := range change {
		f(&r)
	}
	s.commit(func(seq uint64) store.Writes {
		r.Seq, r.Fence = seq, seq
		if r.ID == "" {
			r.ID = fmt.Sprint("left-", seq)
		}
		w := store.Writes{Insert: []store.Record{r}, Runners: []store.RunnerRecord{runner}}
		for _, key := range r.Keys {
			w.Claim = append(w.Claim, store.Claim{Key: key, Action: r.ID})
		}
		return w
	})
	return r
}

// commit commits the next change of the store.
func (s *scene) commit(write func(seq uint64) store.Writes) {
	s.t.Helper()
	err := s.store.Commit(s.t.Context(), store.Batch{Since: s.head().Seq}, func(l store.Loaded) (store.Writes, error) {
		w := write(l.Seq + 1)
		w.Head = max(w.Head, l.Seq+1)
		return w, nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// hear renews a runner.
func (s *scene) hear(runner store.RunnerRecord) {
	s.t.Helper()
	if err := s.store.Renew(s.t.Context(), runner); err != nil {
		s.t.Fatal(err)
	}
}

// head returns the store's head.
func (s *scene) head() store.Head {
	s.t.Helper()
	snapshot, err := s.store.Snapshot(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return snapshot.Head
}

// wantSeq checks the number of changes that the store has seen.
func (s *scene) wantSeq(want uint64) {
	s.t.Helper()
	if got := s.head().Seq; got != want {
		s.t.Errorf("after %v: the store has seen %d changes, want %d", s.now(), got, want)
	}
}

// want checks how the watcher shows an action.
func (s *scene) want(id string, status kapi.Status, state string) kapi.Action {
	s.t.Helper()
	a, err := s.k.Get(s.t.Context(), id)
	if err != nil {
		s.t.Fatalf("after %v: %v", s.now(), err)
	}
	if a.Status != status || a.State != state {
		s.t.Errorf("after %v: %v, %q; want %v, %q", s.now(), a.Status, a.State, status, state)
	}
	return a
}

// wantHeld checks that an action keeps its key, even from a start that dismisses failed actions.
func (s *scene) wantHeld(id string) {
	s.t.Helper()
	spec := kapi.Spec{Title: "Another", Keys: []string{"reshard"}, DismissFailed: true}
	_, err := s.k.Start(s.t.Context(), spec, untilStopped)
	var held *kapi.HeldError
	if !errors.As(err, &held) || held.Holder.ID != id {
		s.t.Errorf("a start with the key of %s: %v", id, err)
	}
}
