package peer_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A hungStore is a store whose calls don't return while it hangs, until their contexts end.
type hungStore struct {
	*testStore
	hangs           atomic.Bool
	renewals, reads atomic.Int32
}

func (s *hungStore) wait(ctx context.Context) error {
	if !s.hangs.Load() {
		return nil
	}
	<-ctx.Done()
	return errors.Join(kapi.ErrUnavailable, context.Cause(ctx))
}

func (s *hungStore) Renew(ctx context.Context, r store.RunnerRecord) error {
	s.renewals.Add(1)
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.testStore.Renew(ctx, r)
}

func (s *hungStore) Feed(ctx context.Context, since uint64) (store.Page, error) {
	s.reads.Add(1)
	if err := s.wait(ctx); err != nil {
		return store.Page{}, err
	}
	return s.testStore.Feed(ctx, since)
}

func (s *hungStore) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.testStore.Commit(ctx, b, decide)
}

// However long StoreTimeout is, a hung connection doesn't cost a lease, and changes by others are seen soon
// after it: each attempt is given up in time for the next.
func TestHungConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hungStore{testStore: newStore(t)}
		k := openPeer(t, store, peer.Options{StoreTimeout: time.Hour})
		start(t, k, kapi.Spec{Title: "t"}, untilStopped)
		store.hangs.Store(true)
		late := make(chan error, 1)
		go func() {
			_, err := k.Start(t.Context(), kapi.Spec{Title: "late"}, untilStopped)
			late <- err
		}()
		store.renewals.Store(0)
		store.reads.Store(0)
		time.Sleep(time.Minute + time.Second)
		if n := store.renewals.Load(); n < 12 { // every third of 15 s
			t.Errorf("%d renewals were tried in a minute", n)
		}
		if n := store.reads.Load(); n < 6 {
			t.Errorf("the feed was tried %d times in a minute", n)
		}
		select {
		case err := <-late:
			t.Errorf("a start that may wait an hour: %v", err)
		default:
		}
		store.hangs.Store(false)
		time.Sleep(time.Hour)
		wantError(t, <-late, kapi.ErrUnavailable)
	})
}

// Restoring a silent action doesn't delay renewals so long that the lease is lost.
func TestRenewalWaitsForNobody(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.open()
		runner, done := s.far(untilStopped, peer.Options{StoreTimeout: time.Hour})
		s.at(6 * time.Second)
		a := s.theOnly()
		runner.cut()
		s.at(7*time.Second + sceneLease)
		if a := s.theOnly(); a.Status != kapi.StatusImpacted {
			t.Fatalf("silent, it is %+v", a)
		}
		let := make(chan struct{})
		runner.ask(func(method string) error {
			if method == "Commit" {
				<-let
			}
			return nil
		})
		s.at(s.now() + sceneLease) // renewals work, but restoring the action doesn't
		runner.count("Renew")
		s.at(s.now() + time.Minute)
		if n := runner.count("Renew"); n < 12 {
			t.Errorf("%d renewals in a minute", n)
		}
		close(let)
		s.at(s.now() + time.Second)
		s.want(a.ID, kapi.StatusRunning, "")
		if _, err := s.k.Cancel(t.Context(), a.ID, "ada"); err != nil {
			t.Error(err)
		}
		<-done
	})
}

// While a start waits for its commit, there is nothing to renew, and so a crowd that starts isn't held up by renewals.
func TestNothingToRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &hungStore{testStore: newStore(t)}
		k := openLight(t, s, peer.Options{StoreTimeout: time.Hour, Lease: 15 * time.Second})
		s.hangs.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := k.Start(ctx, kapi.Spec{Title: "t"}, untilStopped)
			ended <- err
		}()
		time.Sleep(14 * time.Second)
		if n := s.renewals.Load(); n != 0 {
			t.Errorf("the lease was renewed %d times", n)
		}
		time.Sleep(10 * time.Second)
		if n := s.renewals.Load(); n == 0 {
			t.Error("the start may be committed by now, and the lease was not renewed")
		}
		s.hangs.Store(false)
		cancel()
		if err := <-ended; err == nil {
			t.Error("the start succeeded")
		}
	})
}
