package peer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

// A transaction includes the changes that arrive while it waits for the store's lock.
func TestJoin(t *testing.T) {
	store := newStore(t)
	k := openPeer(t, store, peer.Options{})
	begun, release := heldUp(t, store)
	const late = 20
	var all sync.WaitGroup
	launch := func(key string) {
		all.Go(func() {
			if _, err := k.Start(t.Context(), kapi.Spec{Title: "t", Keys: []string{key}}, untilStopped); err != nil {
				t.Error(err)
			}
		})
	}
	launch("first")
	<-begun
	for i := range late {
		launch(fmt.Sprint(i))
	}
	kapitest.Eventually(t, "the others wait for the next transaction", func() bool { return k.Submitted() == late })
	before := k.Stats().BatchChanges
	release()
	all.Wait()
	after := k.Stats().BatchChanges
	if n := batches(after) - batches(before); n != 1 || after.Sum-before.Sum != 1+late {
		t.Errorf("%v changes in %d transactions, want %d in 1", after.Sum-before.Sum, n, 1+late)
	}
}

// A transaction whose callers have all left is not abandoned if a new change joins it in time.
func TestJoinAfterAllLeft(t *testing.T) {
	store := newStore(t)
	k := openPeer(t, store, peer.Options{})
	begun, release := heldUp(t, store)
	ctx, leave := context.WithCancel(t.Context())
	gone, late := make(chan struct{}), make(chan error)
	go func() {
		defer close(gone)
		_, _ = k.Start(ctx, kapi.Spec{Title: "t", Keys: []string{"x"}}, untilStopped) // may be too late to withdraw
	}()
	<-begun
	leave()
	kapitest.Eventually(t, "the transaction is abandoned", k.GivenUp)
	go func() {
		_, err := k.Start(t.Context(), kapi.Spec{Title: "t", Keys: []string{"y"}}, untilStopped)
		late <- err
	}()
	kapitest.Eventually(t, "the late start waits for the next transaction", func() bool { return k.Submitted() == 1 })
	release()
	<-gone
	if err := <-late; err != nil {
		t.Error(err)
	}
}

// heldUp delays the store's next transaction, before it has the lock. begun is closed when the delay
// begins; release ends it.
func heldUp(t *testing.T, store *testStore) (begun chan struct{}, release func()) {
	begun, held := make(chan struct{}), make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release) // before the peer is closed
	var once sync.Once
	store.setBefore(func(method string) error {
		if method == "Commit" {
			once.Do(func() {
				close(begun)
				<-held
			})
		}
		return nil
	})
	return begun, release
}

func batches(h peer.Histogram) (n uint64) {
	for _, count := range h.Counts {
		n += count
	}
	return n
}
