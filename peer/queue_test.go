package peer_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A queuedStore is a store in which many other writers have their turn first.
type queuedStore struct {
	*testStore
	before atomic.Int32
	stands atomic.Bool // the queue doesn't move
}

func (s *queuedStore) queue(ctx context.Context) error {
	for range s.before.Load() {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return errors.Join(kapi.ErrUnavailable, context.Cause(ctx))
		}
		if !s.stands.Load() {
			store.Moved(ctx)
		}
	}
	return nil
}

func (s *queuedStore) Renew(ctx context.Context, r store.RunnerRecord) error {
	if err := s.queue(ctx); err != nil {
		return err
	}
	return s.testStore.Renew(ctx, r)
}

func (s *queuedStore) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	if err := s.queue(ctx); err != nil {
		return err
	}
	return s.testStore.Commit(ctx, b, decide)
}

// Waiting in a queue that moves doesn't use up StoreTimeout; in one that stands still it does. A caller may leave at
// any time.
func TestStoreTimeoutInAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 2 * time.Second
		s := &queuedStore{testStore: newStore(t)}
		k := openPeer(t, s, peer.Options{StoreTimeout: timeout})
		s.before.Store(30)
		a := start(t, k, kapi.Spec{Title: "t"}, untilStopped)
		if err := k.RecordWork(t.Context(), a.ID, proc.Work{}); err != nil {
			t.Errorf("RecordWork: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := k.Start(ctx, kapi.Spec{Title: "t"}, untilStopped)
		wantError(t, err, context.DeadlineExceeded)
		s.stands.Store(true)
		began := time.Now()
		_, err = k.Start(t.Context(), kapi.Spec{Title: "t"}, untilStopped)
		wantError(t, err, kapi.ErrUnavailable)
		if waited := time.Since(began); waited != timeout {
			t.Errorf("in a queue that stands still a start waited %v, want %v", waited, timeout)
		}
		s.before.Store(0)
	})
}
