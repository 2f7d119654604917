package peer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/operation"
	"github.com/kettubot/kapi/peer"
)

// A failed action whose checkpoints a peer can't read isn't continued there, and stays as it is.
func TestContinueUnreadable(t *testing.T) {
	var saw runsSaw
	newer := failsOnce(&saw)
	newer.Version, newer.Reads = 2, 2
	const reason = "names an action with checkpoints of version 0, and this peer's operation reads 2 to 2"
	everywhere(t, newer, func(s *site, k *peer.Peer) {
		old := s.full(failsOnce(&saw))
		failed := s.begin(old, `{"from":"a","held":"lock"}`, kapi.StartOptions{})
		time.Sleep(time.Second)
		if err := old.Close(); err != nil {
			s.Error(err)
		}
		_, err := k.StartOperation(s.Context(), "move", nil, kapi.StartOptions{Continue: failed.ID})
		if invalid := (*kapi.InvalidError)(nil); !errors.As(err, &invalid) || !strings.HasSuffix(invalid.Reason, reason) {
			s.Errorf("%v", err)
		}
		if all := s.records(); len(all) != 1 || all[0].ID != failed.ID || all[0].Status != kapi.StatusFailed || len(all[0].Keys) != 1 {
			s.Errorf("%+v", all)
		}
	})
}

// A start that was left to another peer is no success if that peer ends it before it begins.
func TestClaimerEndsStart(t *testing.T) {
	for _, kind := range []string{"full", "light"} {
		onSite(t, func(s *site) {
			offering := s.full(move(operation.Of[moveArgs]{Preflight: func(ctx context.Context, _ moveArgs) (kapi.Preview, error) {
				<-ctx.Done()
				return kapi.Preview{}, ctx.Err()
			}}))
			k := s.light()
			if kind == "full" {
				k = s.full()
			}
			time.AfterFunc(3*time.Second, func() { _ = offering.Close() })
			started, err := k.StartOperation(s.Context(), "move", []byte(`{"from":"a"}`), kapi.StartOptions{})
			if !errors.Is(err, kapi.ErrUnavailable) {
				s.Errorf("%s: started %+v, %v", kind, started, err)
			}
			s.none()
		})
	}
}

// A peer whose version of an operation is not resumable takes over none of its actions: others could take them over
// while it works.
func TestNotResumableAnyMore(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		resumable, ran := calls()
		plain, ranPlain := calls(func(d *kapi.Definition) { d.Resume = nil })
		a := c.join(peer.Options{}, resumable)
		action := a.begin(t)
		<-ran
		b := c.join(peer.Options{}, plain)
		must(t, a.Close())
		time.Sleep(time.Minute)
		wantShown(t, b.Peer, action.ID, kapi.StatusImpacted, "handed over by "+b.Self().Host+"; waits for another runner")
		c.join(peer.Options{}, resumable)
		(<-ran).end <- nil
		synctest.Wait()
		if len(ranPlain) > 0 {
			t.Error("it was taken over")
		}
	})
}

// A checkpoint that a newer version writes has its version, even if its text is that of the older one.
func TestSameTextNewVersion(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		old, ranOld := calls()
		newer, ranNew := calls(func(d *kapi.Definition) { d.Version = 1 })
		a := c.join(peer.Options{}, old)
		action := a.begin(t)
		must(t, (<-ranOld).Checkpoint(place{1}))
		b := c.join(peer.Options{}, newer)
		must(t, a.Close())
		now := <-ranNew
		must(t, now.Checkpoint(place{1}))
		all, err := b.link.Saved(t.Context(), action.ID)
		if err != nil || len(all) != 1 || all[0].Version != 1 {
			t.Errorf("saved: %+v, %v", all, err)
		}
		now.end <- nil
		synctest.Wait()
	})
}

// A hanging is a store in which renewals may hang.
type hanging struct {
	*testStore
	hangs atomic.Bool
}

func (s *hanging) Renew(ctx context.Context, r store.RunnerRecord) error {
	if !s.hangs.Load() {
		return s.testStore.Renew(ctx, r)
	}
	<-ctx.Done()
	return fmt.Errorf("%w: %w", kapi.ErrUnavailable, context.Cause(ctx))
}

// A start of a resumable operation is refused after StoreTimeout, too, if the lease must be renewed for it.
func TestRenewalForStartHangs(t *testing.T) {
	onSite(t, func(s *site) {
		hung := &hanging{testStore: s.store}
		k := openLight(s, hung, peer.Options{Operations: []kapi.Definition{move(operation.Of[moveArgs]{Resume: &kapi.Resume{}})}}.WithClock(s.clock, s.clock))
		hung.hangs.Store(true)
		ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		_, err := k.StartOperation(ctx, "move", []byte(`{"from":"a"}`), kapi.StartOptions{})
		if took := time.Since(began); !errors.Is(err, kapi.ErrUnavailable) || took != 5*time.Second {
			s.Errorf("after %v: %v", took, err)
		}
		hung.hangs.Store(false)
	})
}
