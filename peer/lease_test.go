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

// A becoming store gets its keeper late, and the looks of its peers may hang.
type becoming struct {
	*unkept
	keeper  atomic.Bool
	hangs   atomic.Bool
	release chan struct{}
	mu      sync.Mutex
	renewed []time.Time
}

func (s *becoming) Keep(string) bool {
	if s.hangs.Load() {
		<-s.release
	}
	return s.keeper.Load()
}

func (s *becoming) Renew(ctx context.Context, r store.RunnerRecord) error {
	s.mu.Lock()
	s.renewed = append(s.renewed, time.Now())
	s.mu.Unlock()
	return s.unkept.Renew(ctx, r)
}

// lightFor has a light peer run an operation for some time, and then calls f.
func lightFor(t *testing.T, d time.Duration, f func(*becoming)) {
	synctest.Test(t, func(t *testing.T) {
		s := &becoming{unkept: newUnkept(t), release: make(chan struct{})}
		start(t, openLight(t, s, peer.Options{Lease: 15 * time.Second}), kapi.Spec{}, untilStopped)
		time.Sleep(d)
		f(s)
	})
}

// gaps returns the times between the renewals, and until now.
func (s *becoming) gaps() (all []time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, at := range s.renewed {
		next := time.Now()
		if i+1 < len(s.renewed) {
			next = s.renewed[i+1]
		}
		all = append(all, next.Sub(at))
	}
	return all
}

// The looks of a light peer renew its lease, and put off the timer that would wake it up besides. If they hang, the
// timer renews the lease in time.
func TestLooksRenew(t *testing.T) {
	lightFor(t, time.Minute, func(s *becoming) {
		const look = 4500 * time.Millisecond
		looks := s.gaps()
		for _, gap := range looks[:len(looks)-1] {
			if gap != look {
				t.Errorf("renewed %v after the time before, want %v", gap, look)
			}
		}
		s.hangs.Store(true)
		time.Sleep(look + 20*time.Second)
		hung := s.gaps()[len(looks)-1:]
		want := []time.Duration{10 * time.Second, 5 * time.Second, 5 * time.Second}
		if len(hung) < 3 || !slices.Equal(hung[:3], want) {
			t.Errorf("while looks hang, renewed after %v, want %v", hung, want)
		}
		close(s.release)
	})
}

// A light peer that becomes the keeper doesn't wait for the timer that its looks have put off.
func TestNewKeeperRenews(t *testing.T) {
	for after := range time.Duration(5) {
		lightFor(t, time.Minute+after*time.Second, func(s *becoming) {
			s.keeper.Store(true)
			time.Sleep(time.Minute)
			for i, gap := range s.gaps() {
				if gap > 6*time.Second {
					t.Errorf("renewed for the %dth time, and then not for %v", i, gap)
				}
			}
		})
	}
}
