package peer_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A slowOffers is a store in which offers may take long to be written.
type slowOffers struct {
	*testStore
	slow atomic.Bool
	free chan struct{} // closed when they are written
}

func (s *slowOffers) Offer(ctx context.Context, runner string, offers []store.OfferRecord) error {
	if s.slow.Load() && len(offers) > 0 {
		<-s.free
	}
	return s.testStore.Offer(ctx, runner, offers)
}

// A peer that is closed while it publishes its offers offers nothing afterwards.
func TestClosedWhilePublishing(t *testing.T) {
	onSite(t, func(s *site) {
		slow, ended := &slowOffers{testStore: s.store, free: make(chan struct{})}, make(chan struct{})
		k := openLight(s, slow, peer.Options{Grace: time.Hour, Operations: []kapi.Definition{{
			Name: "move", Title: "Moving",
			Run: func(context.Context, kapi.OperationHandle, json.RawMessage) error { <-ended; return nil },
		}}}.WithClock(s.clock, s.clock))
		s.begin(k, "", kapi.StartOptions{})
		slow.slow.Store(true)
		time.Sleep(time.Hour + time.Minute) // they are published once an hour
		closed := make(chan error)
		go func() { closed <- k.Close() }()
		synctest.Wait()
		close(slow.free)
		synctest.Wait()
		close(ended)
		if err := <-closed; err != nil {
			s.Error(err)
		}
		offers, err := s.store.Offers(s.Context())
		if err != nil || len(offers) != 1 || len(offers[0].Runners) != 0 {
			s.Errorf("after the end there are %+v, %v", offers, err)
		}
	})
}
