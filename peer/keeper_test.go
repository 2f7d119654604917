package peer_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// A kept store makes its peers the keeper whenever keeps returns true.
type kept struct {
	*testStore
	keeps func() bool
}

func (s *kept) Keep(string) bool { return s.keeps() }

// Only the keeper marks silent actions, and it checks that it still is the keeper before it writes.
func TestOnlyTheKeeperJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, inner := time.Now(), newStore(t)
		clock := func() time.Duration { return time.Since(began) }
		options := peer.Options{}.WithClock(clock, clock)
		never := func() bool { return false }
		one := openLight(t, &kept{inner, never}, options)
		r, err := one.StartRemote(t.Context(), peer.RemoteSpec{Spec: kapi.Spec{Title: "elsewhere"}})
		if err != nil {
			t.Fatal(err)
		}
		status := func() kapi.Status {
			a, err := one.Get(t.Context(), r.Action.ID)
			if err != nil {
				t.Fatal(err)
			}
			return a.Status
		}
		time.Sleep(30 * time.Second)
		if got := status(); got != kapi.StatusRunning {
			t.Errorf("without a keeper the action is %v", got)
		}

		var asked atomic.Uint32
		var always atomic.Bool
		openLight(t, &kept{inner, func() bool { return asked.Add(1)%2 == 1 || always.Load() }}, options)
		time.Sleep(time.Minute)
		if got := status(); got != kapi.StatusRunning {
			t.Errorf("a keeper that was replaced before it wrote marked the action as %v", got)
		}
		always.Store(true)
		time.Sleep(30 * time.Second) // so that the runner is not given up yet
		if got := status(); got != kapi.StatusImpacted {
			t.Errorf("the keeper left the action %v", got)
		}
	})
}

// A peer that is no longer the keeper is a light peer again, and one that follows all actions stays a full one.
func TestRetiredKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUnkept(t)
		var keeps atomic.Bool
		k := openLight(t, &kept{s.testStore, keeps.Load}, peer.Options{})
		start(t, k, kapi.Spec{}, untilStopped)
		other := openLight(t, s, peer.Options{})
		for range 10 {
			start(t, other, kapi.Spec{}, untilStopped)
		}
		ongoing := func() (n int) {
			synctest.Wait()
			for _, of := range k.Stats().Ongoing {
				n += of
			}
			return n
		}
		for round := range 2 {
			keeps.Store(true)
			time.Sleep(2 * time.Second)
			if n := ongoing(); n != 11 {
				t.Fatalf("round %d: as the keeper it has %d actions", round, n)
			}
			keeps.Store(false)
			time.Sleep(2 * time.Second)
			if n := ongoing(); n != 1 {
				t.Fatalf("round %d: afterwards it has %d actions, want its own", round, n)
			}
			start(t, k, kapi.Spec{Keys: []string{"k"}}, func(context.Context, kapi.Handle) error { return nil })
		}
		synctest.Wait() // until the last one has ended
		if all, err := k.List(t.Context()); err != nil || len(all) != 11 {
			t.Fatalf("it lists %d actions, %v", len(all), err)
		}
		time.Sleep(10 * time.Second)
		if n := ongoing(); n != 11 {
			t.Errorf("it follows all, and has %d actions", n)
		}
	})
}

// A keeper that takes long to read very many actions goes on asking for its part, so that no other peer takes it for
// one that is stopped.
func TestBusyKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		s.setBefore(func(method string) error {
			if method == "Snapshot" {
				time.Sleep(4 * time.Second)
			}
			return nil
		})
		last, longest := time.Now(), time.Duration(0)
		var mu sync.Mutex
		openLight(t, &kept{s, func() bool {
			mu.Lock()
			defer mu.Unlock()
			longest, last = max(longest, time.Since(last)), time.Now()
			return true
		}}, peer.Options{})
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if longest > 2*time.Second {
			t.Errorf("it has not asked for %v", longest)
		}
	})
}
