package peer_test

import (
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
