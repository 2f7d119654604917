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

// The limits of the scenes are the defaults.
const (
	sceneLease  = 15 * time.Second
	sceneGiveUp = 2 * time.Minute
)

// A scene is a store in a bubble of its own time, with a peer that watches the runners of
// other processes. The runners are made up: they are records in the store.
type scene struct {
	t      *testing.T
	store  *sqlite.Store // past everybody's link
	link   *link         // of the watcher
	began  time.Time
	slept  atomic.Int64  // how far the clock since boot is ahead of the bubble's
	uptime time.Duration // before the scene
	k      *peer.Peer    // the watcher
}

// play plays a scene, up to where the watcher would open the store.
func play(t *testing.T, f func(*testing.T, *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t).Store
		f(t, &scene{t: t, store: store, link: &link{Store: store}, began: time.Now()})
	})
}

// open opens the watcher. Its sweeps are at whole seconds.
func (s *scene) open() { s.k = s.openPeer(s.link, peer.Options{}) }

// openPeer opens a peer that logs nothing, because outages of hours fill a log.
func (s *scene) openPeer(store store.Store, o peer.Options) *peer.Peer {
	s.t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	return openPeer(s.t, store, o.WithClock(s.sinceBoot, s.awake))
}

// sinceBoot is the clock of all peers of the scene.
func (s *scene) sinceBoot() time.Duration {
	return time.Since(s.began) + s.uptime + time.Duration(s.slept.Load())
}

// awake stands still while the machine sleeps.
func (s *scene) awake() time.Duration { return time.Since(s.began) + s.uptime }

// suspend has the machine sleep: the bubble's timers don't notice.
func (s *scene) suspend(d time.Duration) { s.slept.Add(int64(d)) }

// now is which second of the scene it is.
func (s *scene) now() time.Duration { return time.Since(s.began).Truncate(time.Second) }

// at waits for a moment of the scene, and until the sweeps of that moment are over.
func (s *scene) at(moment time.Duration) {
	time.Sleep(time.Until(s.began.Add(moment + time.Second/4)))
	synctest.Wait()
}

// stranger is the runner of a process of which nothing can be proven: its machine is
// another one. All else is as of a process that lives.
func stranger() store.RunnerRecord {
	me := proc.Self()
	return store.RunnerRecord{
		ID: "other", Host: "bot-2", PID: me.PID,
		BootID: "0b5e8c1e-0000-4000-8000-000000000000", PIDNamespace: me.PIDNamespace, StartTime: me.StartTime,
		Lease: sceneLease,
	}
}

// leave puts an action of a runner into the store, as that runner would have. It says
// "slot 5", and is to release its keys on failure.
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

// commit makes the next change of the store.
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

// head is how far the store is.
func (s *scene) head() store.Head {
	s.t.Helper()
	snapshot, err := s.store.Snapshot(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return snapshot.Head
}

// wantSeq checks that the store has seen that many changes and no more.
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

// wantHeld checks that an action keeps its key, and from a start that would dismiss it too.
func (s *scene) wantHeld(id string) {
	s.t.Helper()
	spec := kapi.Spec{Title: "Another", Keys: []string{"reshard"}, DismissFailed: true}
	_, err := s.k.Start(s.t.Context(), spec, untilStopped)
	var held *kapi.HeldError
	if !errors.As(err, &held) || held.Holder.ID != id {
		s.t.Errorf("a start with the key of %s: %v", id, err)
	}
}
