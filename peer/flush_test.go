package peer_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A slowStore delays each commit before it has the lock, as other peers' commits do, and after its end.
type slowStore struct {
	*unkept
	mu            sync.Mutex
	waits, writes time.Duration
	at            []time.Time // when the commits began
}

func (s *slowStore) set(waits, writes time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits, s.writes, s.at = waits, writes, nil
}

func (s *slowStore) begun() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *slowStore) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	s.mu.Lock()
	s.at = append(s.at, time.Now())
	waits, writes := s.waits, s.writes
	s.mu.Unlock()
	time.Sleep(waits)
	err := s.unkept.Commit(ctx, b, decide)
	time.Sleep(writes)
	return err
}

// reporting runs f beside an operation that reports every millisecond.
func reporting(t *testing.T, s store.Store, f func()) {
	began := time.Now()
	clock := func() time.Duration { return time.Since(began) }
	k := openLight(t, s, peer.Options{}.WithClock(clock, clock))
	ctx, stop := context.WithCancel(t.Context())
	a := make(chan error)
	go func() {
		a <- k.Do(t.Context(), kapi.Spec{Title: "t"}, func(_ context.Context, h kapi.Handle) error {
			for p := 1e-9; ctx.Err() == nil; p += 1e-9 {
				h.SetProgress(p)
				time.Sleep(time.Millisecond)
			}
			return nil
		})
	}()
	f()
	stop()
	if err := <-a; err != nil {
		t.Error(err)
	}
}

// The pause between two publications grows while commits are slow or wait for other peers, up to a second.
func TestPauseGrows(t *testing.T) {
	for _, test := range []struct {
		name          string
		waits, writes time.Duration
		least, most   int // publications in 10 seconds
	}{
		{"alone", 0, 0, 98, 101},
		{"a usual disk", 0, 5 * time.Millisecond, 90, 101},
		{"a usual network", 2 * time.Millisecond, 7 * time.Millisecond, 85, 101},
		{"a slow disk", 0, 40 * time.Millisecond, 10, 25},
		{"a very slow disk", 0, 300 * time.Millisecond, 6, 10},
		{"a crowd", time.Millisecond, time.Millisecond, 10, 14},
		{"a slow crowd", time.Second, time.Millisecond, 4, 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slowStore{unkept: newUnkept(t)}
				s.set(test.waits, test.writes)
				reporting(t, s, func() {
					time.Sleep(10 * time.Second) // the pause grows
					s.set(test.waits, test.writes)
					time.Sleep(10 * time.Second)
					if n := len(s.begun()); n < test.least || n > test.most {
						t.Errorf("%d publications in 10 seconds, want %d to %d", n, test.least, test.most)
					}
				})
			})
		})
	}
}

// A single slow commit counts for a moment only.
func TestPauseShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowStore{unkept: newUnkept(t)}
		reporting(t, s, func() {
			time.Sleep(time.Second)
			s.set(3*time.Second, 0)
			time.Sleep(200 * time.Millisecond) // the slow one has begun
			s.set(0, 0)
			time.Sleep(5 * time.Second)
			if n := len(s.begun()); n < 14 {
				t.Errorf("%d publications in about 2 seconds after a slow one, want at least 14", n)
			}
		})
	})
}

// An end waits neither for the pause nor for anything but the publication that is under way, and takes along what
// is not published yet.
func TestEndIsNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowStore{unkept: newUnkept(t)}
		s.set(2*time.Millisecond, time.Millisecond)
		began := time.Now()
		clock := func() time.Duration { return time.Since(began) }
		k := openLight(t, s, peer.Options{}.WithClock(clock, clock))
		watcher := openPeer(t, s.testStore, peer.Options{}.WithClock(clock, clock))
		w, err := watcher.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		for _, pause := range []time.Duration{0, time.Millisecond, 2500 * time.Microsecond, 50 * time.Millisecond} {
			var ended time.Time
			err := k.Do(t.Context(), kapi.Spec{Title: "t"}, func(_ context.Context, h kapi.Handle) error {
				for p := range 10_000 {
					h.SetProgress(float64(p) / 20_000)
					time.Sleep(time.Millisecond)
				}
				s.set(2*time.Millisecond, time.Millisecond)
				for len(s.begun()) == 0 {
					h.SetProgress(0.6)
					time.Sleep(100 * time.Microsecond)
				}
				time.Sleep(pause)
				h.SetProgress(0.9)
				h.SetState("done")
				ended = time.Now()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if late := time.Since(ended); late > 6*time.Millisecond { // that is two commits
				t.Errorf("the end came %v late, %v after a publication had begun", late, pause)
			}
			end := awaitAny(t, w, is(kapi.StatusCompleted))
			if end.State != "done" || *end.Progress != 0.9 {
				t.Errorf("it ended as %q at %v", end.State, *end.Progress)
			}
		}
	})
}
