package peer_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
	"github.com/kettubot/kapi/peer"
)

func TestLimit(t *testing.T) {
	everywhere(t, move(operation.Of[moveArgs]{Limit: 2}), func(s *site, k *peer.Peer) {
		first := s.begin(k, `{"from":"a"}`, kapi.StartOptions{})
		second := s.begin(k, `{"from":"b"}`, kapi.StartOptions{})
		_, err := k.StartOperation(s.Context(), "move", []byte(`{"from":"c"}`), kapi.StartOptions{})
		var held *kapi.HeldError
		if !errors.As(err, &held) || held.Operation != "move" || held.Limit != 2 || held.Holder.ID != first.ID || held.Key != "" {
			s.Errorf("the third, without a wait: %v", err)
		}
		third := s.begin(k, `{"from":"c"}`, kapi.StartOptions{Wait: time.Hour})
		fourth := s.begin(k, `{"from":"d"}`, kapi.StartOptions{Wait: 10 * time.Second})
		if third.Status != kapi.StatusPending || fourth.Status != kapi.StatusPending {
			s.Errorf("%+v, %+v", third, fourth)
		}
		if _, err := k.Cancel(s.Context(), second.ID, "ann"); err != nil {
			s.Error(err)
		}
		time.Sleep(5 * time.Second)
		statuses := map[string]kapi.Status{}
		for _, r := range s.records() {
			statuses[r.ID] = r.Status
		}
		// The second has failed, which frees its turn.
		if statuses[second.ID] != kapi.StatusFailed || statuses[third.ID] != kapi.StatusRunning || statuses[fourth.ID] != kapi.StatusPending {
			s.Errorf("after the end of the second: %v", statuses)
		}
		time.Sleep(6 * time.Second)
		for _, r := range s.records() {
			if r.ID == fourth.ID {
				s.Errorf("the fourth waits for longer than it may: %+v", r)
			}
		}
	})
}
