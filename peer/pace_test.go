package peer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A heldStore commits nothing until held is closed. Its peer is never the keeper, and asks each time.
type heldStore struct {
	store.Store
	held  chan struct{}
	asked atomic.Int64
}

func (s *heldStore) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	select {
	case <-s.held:
	case <-ctx.Done():
	}
	return s.Store.Commit(ctx, b, decide)
}

func (s *heldStore) Keep(string) bool {
	s.asked.Add(1)
	return false
}

// TestWaitsQuietly: a light peer that only waits for its start to be committed seldom wakes up, as there may be a
// thousand of them. When the start is committed, it does what it has put off.
func TestWaitsQuietly(t *testing.T) {
	const every = 400 * time.Millisecond
	s := &heldStore{Store: newStore(t), held: make(chan struct{})}
	k := openLight(t, s, peer.Options{}.WithSweepEvery(every))
	kapitest.Eventually(t, "the peer asks whether it is the keeper", func() bool { return s.asked.Load() > 0 })
	started := make(chan error, 1)
	go func() {
		_, err := k.Start(t.Context(), kapi.Spec{Title: "waits"}, func(ctx context.Context, _ kapi.Handle) error {
			<-ctx.Done()
			return nil
		})
		started <- err
	}()
	time.Sleep(2 * every) // what was due before the start
	before := s.asked.Load()
	time.Sleep(5 * every)
	asked := s.asked.Load()
	if n := asked - before; n > 1 {
		t.Errorf("in five intervals it asked %d times", n)
	}
	close(s.held)
	if err := kapitest.Receive(t, started, "the start"); err != nil {
		t.Fatal(err)
	}
	for limit := time.Now().Add(5 * every); s.asked.Load() == asked; time.Sleep(every / 20) {
		if time.Now().After(limit) {
			t.Fatal("after its start it is as quiet as before")
		}
	}
}
