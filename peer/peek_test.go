package peer_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A belled store tells peers of changes by others.
type belled struct {
	*unkept
	marks *marks
}

type marks struct {
	of     sync.Map     // by runner: an *atomic.Uint64
	broken atomic.Bool  // nobody is told
	mute   atomic.Bool  // the store can't tell
	ears   atomic.Int32 // calls of Listen that have not returned
}

func (s *belled) Rung(runner string) (uint64, bool) {
	if m, ok := s.marks.of.Load(runner); ok && !s.marks.mute.Load() {
		return m.(*atomic.Uint64).Load(), true
	}
	return 0, false
}

func (s *belled) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	var wake []string
	err := s.unkept.Commit(ctx, b, func(l store.Loaded) (store.Writes, error) {
		w, err := decide(l)
		wake = w.Wake
		return w, err
	})
	for _, id := range wake {
		if m, ok := s.marks.of.Load(id); err == nil && ok && !s.marks.broken.Load() {
			m.(*atomic.Uint64).Add(1)
		}
	}
	return err
}

func (s *belled) Listen(ctx context.Context, wake func()) error {
	s.marks.ears.Add(1)
	defer s.marks.ears.Add(-1)
	return s.unkept.Listen(ctx, wake)
}

// newBelled returns a store with two light peers.
func newBelled(t *testing.T) (s *belled, one, two *peer.Peer) {
	s = &belled{newUnkept(t), &marks{}}
	one, two = openLight(t, s, peer.Options{}), openLight(t, s, peer.Options{})
	for _, p := range []*peer.Peer{one, two} {
		s.marks.of.Store(p.Self().ID, &atomic.Uint64{})
	}
	return s, one, two
}

// A light peer reads its own actions only when it is told to, or once in a lease.
func TestLightPeerReadsWhenItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, one, two := newBelled(t)
		cancelled := make(chan struct{})
		a := start(t, one, kapi.Spec{}, func(ctx context.Context, _ kapi.Handle) error {
			<-ctx.Done()
			close(cancelled)
			return ctx.Err()
		})
		time.Sleep(time.Second)
		some := s.called("Some")
		time.Sleep(time.Minute)
		if n := s.called("Some") - some; n < 3 || n > 5 {
			t.Errorf("in a minute it has read its actions %d times, want about 4", n)
		}
		asked := time.Now()
		if _, err := two.Cancel(t.Context(), a.ID, "somebody"); err != nil {
			t.Fatal(err)
		}
		<-cancelled
		if d := time.Since(asked); d > 1500*time.Millisecond {
			t.Errorf("the cancel has reached it after %v", d)
		}
	})
}

// If a light peer is not told, it sees a change within a lease. If the store can't tell, it does with its next
// look.
func TestLightPeerIsNotTold(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(*marks)
		limit time.Duration
	}{
		"missed": {func(m *marks) { m.broken.Store(true) }, 17 * time.Second},
		"mute":   {func(m *marks) { m.mute.Store(true) }, 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, one, two := newBelled(t)
				c.fault(s.marks)
				cancelled := make(chan struct{})
				a := start(t, one, kapi.Spec{}, func(ctx context.Context, _ kapi.Handle) error {
					<-ctx.Done()
					close(cancelled)
					return ctx.Err()
				})
				time.Sleep(time.Minute)
				asked := time.Now()
				if _, err := two.Cancel(t.Context(), a.ID, "somebody"); err != nil {
					t.Fatal(err)
				}
				<-cancelled
				if d := time.Since(asked); d > c.limit {
					t.Errorf("the cancel has reached it after %v", d)
				}
			})
		})
	}
}

// A wait for a key gets hardly longer by the way in which a light peer learns of its grant, and afterwards the
// peer neither listens nor looks more often than before.
func TestLightPeerWaits(t *testing.T) {
	for name, mute := range map[string]bool{"told": false, "mute": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, one, two := newBelled(t)
				s.marks.mute.Store(mute)
				end := make(chan struct{})
				start(t, one, kapi.Spec{Keys: []string{"k"}}, func(context.Context, kapi.Handle) error {
					<-end
					return nil
				})
				began := make(chan struct{})
				start(t, two, kapi.Spec{Keys: []string{"k"}, Wait: -1}, func(ctx context.Context, _ kapi.Handle) error {
					close(began)
					<-ctx.Done()
					return nil
				})
				time.Sleep(time.Second)
				synctest.Wait()
				if n := s.marks.ears.Load(); n > 0 != mute {
					t.Errorf("while it waits, %d listen", n)
				}
				freed := time.Now()
				close(end)
				<-began
				if d := time.Since(freed); !mute && d > 60*time.Millisecond {
					t.Errorf("it began %v after its key was freed", d)
				}
				synctest.Wait()
				if n := s.marks.ears.Load(); n != 0 {
					t.Errorf("after the wait, %d still listen", n)
				}
				some := s.called("Some")
				time.Sleep(time.Minute)
				if n := s.called("Some") - some; !mute && n > 13 {
					t.Errorf("in the minute after, it has read its actions %d times", n)
				}
			})
		})
	}
}

// After a long wait, keys go from one light peer to the next without delay, once the queue has begun to move.
func TestQueueMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, holder, first := newBelled(t)
		second := openLight(t, s, peer.Options{})
		s.marks.of.Store(second.Self().ID, &atomic.Uint64{})
		spec := kapi.Spec{Keys: []string{"k"}, Wait: -1}
		var ended, began time.Time
		start(t, holder, spec, func(context.Context, kapi.Handle) error {
			time.Sleep(time.Minute)
			return nil
		})
		start(t, first, spec, func(context.Context, kapi.Handle) error {
			time.Sleep(20 * time.Millisecond)
			ended = time.Now()
			return nil
		})
		last := make(chan struct{})
		start(t, second, spec, func(context.Context, kapi.Handle) error {
			began = time.Now()
			close(last)
			return nil
		})
		<-last
		if d := began.Sub(ended); d > 20*time.Millisecond {
			t.Errorf("it got its key after %v", d)
		}
	})
}

// A keptBelled is a belled store whose peers are keepers.
type keptBelled struct{ *belled }

func (keptBelled) Keep(string) bool { return true }

// While a peer waits for a key for long, it reads the store no more often than it has to: as the keeper once a
// second, and four times a second while the store can't be read.
func TestLongWait(t *testing.T) {
	for name, c := range map[string]struct {
		keeper, unreadable bool
		method             string
		most               int32
	}{
		"keeper":     {true, false, "Feed", 80},
		"light":      {false, false, "Some", 20},
		"unreadable": {false, true, "Some", 350},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, holder, waiter := newBelled(t)
				if c.keeper {
					waiter = openLight(t, keptBelled{s}, peer.Options{})
					s.marks.of.Store(waiter.Self().ID, &atomic.Uint64{})
				}
				spec := kapi.Spec{Keys: []string{"k"}, Wait: -1}
				start(t, holder, spec, untilStopped)
				start(t, waiter, spec, untilStopped)
				time.Sleep(time.Minute)
				var n atomic.Int32
				s.setBefore(func(method string) error {
					if method != c.method {
						return nil
					}
					if n.Add(1); c.unreadable {
						return kapi.ErrUnavailable
					}
					return nil
				})
				time.Sleep(time.Minute)
				s.healed()
				if n := n.Load(); n > c.most {
					t.Errorf("in a minute it called %s %d times, want at most %d", c.method, n, c.most)
				}
			})
		})
	}
}

// A waiting peer listens only as long as the store can't tell it of changes.
func TestListensWhileNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, holder, waiter := newBelled(t)
		end, began := make(chan struct{}), make(chan struct{})
		spec := kapi.Spec{Keys: []string{"k"}, Wait: -1}
		start(t, holder, spec, func(context.Context, kapi.Handle) error {
			<-end
			return nil
		})
		start(t, waiter, spec, func(context.Context, kapi.Handle) error {
			close(began)
			return nil
		})
		for round := range 3 {
			mute := round%2 == 1
			s.marks.mute.Store(mute)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if n := s.marks.ears.Load(); n > 0 != mute {
				t.Errorf("round %d: %d listen", round, n)
			}
		}
		freed := time.Now()
		close(end)
		<-began
		if d := time.Since(freed); d > peekLimit {
			t.Errorf("it began %v after its key was freed", d)
		}
	})
}

// peekLimit is the longest pause between two looks of a waiting peer, and a little more.
const peekLimit = 300 * time.Millisecond
