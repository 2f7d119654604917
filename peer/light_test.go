package peer_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// An unkept store has its keeper elsewhere: its peers are light until a call needs the actions of others.
type unkept struct {
	*testStore
	mu    sync.Mutex
	calls map[string]int
	light int // transactions
}

func newUnkept(t testing.TB) *unkept {
	s := &unkept{testStore: newStore(t), calls: map[string]int{}}
	s.setBefore(func(method string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls[method]++
		return nil
	})
	return s
}

func (*unkept) Keep(string) bool { return false }

func (s *unkept) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	s.mu.Lock()
	if b.Light {
		s.light++
	}
	s.mu.Unlock()
	return s.testStore.Commit(ctx, b, decide)
}

func (s *unkept) called(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// A peer that only starts and reports reads neither the feed nor other actions, and reads its own once a
// second. The first call that needs more makes it a full one.
func TestLightPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUnkept(t)
		others := openPeer(t, s, peer.Options{})
		for range 100 {
			start(t, others, kapi.Spec{}, untilStopped)
		}
		k := openLight(t, s, peer.Options{})
		snapshots, commits := s.called("Snapshot"), s.light
		if err := others.Close(); err != nil { // so that all reads of the feed are k's
			t.Fatal(err)
		}
		feeds, some := s.called("Feed"), s.called("Some")
		a := start(t, k, kapi.Spec{Keys: []string{"k"}}, untilStopped)
		time.Sleep(time.Minute)
		if n := s.called("Snapshot") - snapshots; n != 0 {
			t.Errorf("the light peer has read %d snapshots", n)
		}
		if n := s.called("Feed") - feeds; n != 0 {
			t.Errorf("the light peer has read the feed %d times", n)
		}
		if s.light == commits {
			t.Error("none of its transactions was light")
		}
		if n := s.called("Some") - some; n > 70 {
			t.Errorf("the light peer has read its own actions %d times in a minute", n)
		}
		all, err := k.List(t.Context())
		if err != nil || len(all) != 101 || !slices.ContainsFunc(all, func(b kapi.Action) bool { return b.ID == a.ID }) {
			t.Errorf("it lists %d actions, %v", len(all), err)
		}
		if n := s.called("Snapshot") - snapshots; n != 1 {
			t.Errorf("for the list the peer has read %d snapshots", n)
		}
	})
}

// A cancel by another peer, a dismissal and a grant reach a light peer.
func TestLightPeerIsReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUnkept(t)
		one, two := openLight(t, s, peer.Options{}), openLight(t, s, peer.Options{})
		cause := make(chan error, 1)
		a := start(t, one, kapi.Spec{Keys: []string{"a", "b"}}, func(ctx context.Context, _ kapi.Handle) error {
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return ctx.Err()
		})
		_, err := two.Start(t.Context(), kapi.Spec{Title: "held", Keys: []string{"b"}}, untilStopped)
		var held *kapi.HeldError
		if !errors.As(err, &held) || held.Key != "b" || held.Holder.ID != a.ID {
			t.Fatalf("a start with a key that is held: %v", err)
		}
		began := make(chan uint64, 1)
		waits := start(t, two, kapi.Spec{Keys: []string{"b"}, Wait: -1, DismissFailed: true}, func(_ context.Context, h kapi.Handle) error {
			began <- h.Fence()
			return nil
		})
		if waits.Status != kapi.StatusPending || waits.WaitsFor == nil || waits.WaitsFor.Action != a.ID {
			t.Errorf("one that waits: %+v", waits)
		}
		if _, err := two.Cancel(t.Context(), a.ID, "somebody"); err != nil {
			t.Fatal(err)
		}
		asked := time.Now()
		var by *kapi.CancelledError
		if err := <-cause; !errors.As(err, &by) || by.By != "somebody" || time.Since(asked) > 2*time.Second {
			t.Errorf("cancelled with %v after %v", err, time.Since(asked))
		}
		if fence := <-began; fence <= a.Seq { // the failed action was dismissed before
			t.Errorf("it began with fence %d, after %d", fence, a.Seq)
		}
	})
}

// A light peer whose own transaction hangs still sees changes by others.
func TestLightPeerSeesWhileItHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUnkept(t)
		one, two := openLight(t, s, peer.Options{StoreTimeout: time.Hour}), openLight(t, s, peer.Options{})
		stopped := make(chan struct{})
		a := start(t, one, kapi.Spec{}, func(ctx context.Context, _ kapi.Handle) error {
			<-ctx.Done()
			close(stopped)
			return ctx.Err()
		})
		release := make(chan struct{})
		var hung atomic.Bool
		s.setBefore(func(method string) error {
			if method == "Commit" && hung.CompareAndSwap(false, true) {
				<-release
			}
			return nil
		})
		late := make(chan error, 1)
		go func() {
			_, err := one.Start(t.Context(), kapi.Spec{Title: "late"}, untilStopped)
			late <- err
		}()
		synctest.Wait()
		if _, err := two.Cancel(t.Context(), a.ID, "somebody"); err != nil {
			t.Fatal(err)
		}
		<-stopped
		close(release)
		if err := <-late; err != nil {
			t.Error(err)
		}
	})
}

// When an action of a light peer is given up, its operation is told.
func TestLightPeerLosesItsAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUnkept(t)
		one, two := openLight(t, s, peer.Options{Grace: -1}), openLight(t, s, peer.Options{})
		impacted, cause := make(chan error, 1), make(chan error, 1)
		a := start(t, one, kapi.Spec{}, func(ctx context.Context, h kapi.Handle) error {
			impacted <- h.Impacted("x")
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return ctx.Err()
		})
		if err := <-impacted; err != nil {
			t.Fatal(err)
		}
		if _, err := two.GiveUp(t.Context(), a.ID, "somebody"); err != nil {
			t.Fatal(err)
		}
		if err := <-cause; !errors.Is(err, kapi.ErrGivenUp) {
			t.Errorf("given up: %v", err)
		}
	})
}

// Ready works for a light peer, too.
func TestLightPeerIsReady(t *testing.T) {
	s := newUnkept(t)
	k := openLight(t, s, peer.Options{})
	if err := k.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	s.failing(errOutage)
	if err := k.Ready(t.Context()); !errors.Is(err, kapi.ErrUnavailable) {
		t.Errorf("in an outage: %v", err)
	}
	s.healed()
}

// A crowded store lets a read wait in line for longer than a peer's patience, while the line moves.
type crowded struct{ *testStore }

func (s crowded) Some(ctx context.Context, ids []string) (store.Snapshot, error) {
	for range 3 {
		time.Sleep(4 * time.Second)
		store.Moved(ctx)
	}
	if err := ctx.Err(); err != nil {
		return store.Snapshot{}, errors.Join(kapi.ErrUnavailable, err)
	}
	return s.testStore.Some(ctx, ids)
}

// Opening a peer doesn't fail because many others open theirs at the same time.
func TestOpenInCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, err := peer.Open(t.Context(), crowded{newStore(t)}, peer.Options{StoreTimeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
}
