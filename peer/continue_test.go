package peer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
	"github.com/kettubot/kapi/peer"
)

// runsSaw is what the runs of an operation saw.
type runsSaw struct {
	mu  sync.Mutex
	all []string
}

func (s *runsSaw) add(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, what)
}

// take returns what was seen, and forgets it.
func (s *runsSaw) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

// failsOnce is an operation that fails after it has stored a checkpoint, unless one is stored already.
func failsOnce(saw *runsSaw) kapi.Definition {
	return move(operation.Of[moveArgs]{Run: func(ctx context.Context, h kapi.OperationHandle, a moveArgs) error {
		var at int
		found, err := h.Restore(&at)
		saw.add(fmt.Sprintf("%s at %d, %v", a.From, at, found))
		if err != nil || found {
			return errors.Join(err, untilStopped(ctx, h))
		}
		return errors.Join(h.Checkpoint(7), errors.New("out of luck"))
	}})
}

// A continuation has the arguments, the checkpoints, the keys and the origin of the failed action, which is dismissed.
func TestContinue(t *testing.T) {
	var saw runsSaw
	everywhere(t, failsOnce(&saw), func(s *site, k *peer.Peer) {
		saw.take()
		failed := s.begin(k, `{"from":"a","held":"lock"}`, kapi.StartOptions{})
		time.Sleep(time.Second)
		s.refused(k, `{"from":"b"}`, kapi.StartOptions{Continue: failed.ID}, &kapi.InvalidError{
			Field: "arguments", Reason: "must not be given with continue, which takes over those of the failed action",
		})
		o := kapi.StartOptions{Continue: failed.ID, By: "ann", IdempotencyKey: "1"}
		next := s.begin(k, "", o)
		time.Sleep(time.Second)
		all := s.records()
		if len(all) != 1 || all[0].ID != next.ID || next.ID == failed.ID || !slices.Equal(all[0].Keys, []string{"lock"}) ||
			all[0].Status != kapi.StatusRunning || all[0].Defined.Origin != failed.ID {
			s.Errorf("after the continuation: %+v", all)
		}
		if got, want := saw.take(), []string{"a at 0, false", "a at 7, true"}; !slices.Equal(got, want) {
			s.Errorf("the runs saw %q, want %q", got, want)
		}
		if saved, err := s.store.Saved(s.Context(), failed.ID); err != nil || len(saved) != 0 {
			s.Errorf("of the failed action there is left %v, %v", saved, err)
		}
		s.refused(k, "", kapi.StartOptions{Continue: failed.ID}, kapi.ErrUnknown)
		s.refused(k, "", kapi.StartOptions{Continue: next.ID}, kapi.ErrNotFailed)
		if again := s.begin(k, "", o); again.ID != next.ID {
			s.Errorf("repeated: %+v", again)
		}
	})
}

// An action of another operation, or of none, can't be continued.
func TestContinueOther(t *testing.T) {
	everywhere(t, move(operation.Of[moveArgs]{}), func(s *site, k *peer.Peer) {
		other := fail(s, s.full(), kapi.Spec{Title: "t"}, "no")
		s.refused(k, "", kapi.StartOptions{Continue: other.ID}, &kapi.InvalidError{
			Field: "continue", Reason: `must be an action of operation "move": ` + other.ID + ` is none`,
		})
		if all := s.records(); len(all) != 1 {
			s.Errorf("%+v", all)
		}
	})
}

// A continuation that has to wait leaves the failed action as it is until its turn comes.
func TestContinueWaits(t *testing.T) {
	var saw runsSaw
	d := failsOnce(&saw)
	d.Limit = 1
	everywhere(t, d, func(s *site, k *peer.Peer) {
		saw.take()
		failed := s.begin(k, `{"from":"a","held":"lock"}`, kapi.StartOptions{})
		time.Sleep(time.Second)
		busy := s.begin(s.full(move(operation.Of[moveArgs]{Limit: 1})), `{"from":"b"}`, kapi.StartOptions{})
		next := s.begin(k, "", kapi.StartOptions{Continue: failed.ID, Wait: -1})
		if next.Status != kapi.StatusPending || len(s.records()) != 3 {
			s.Errorf("%+v", next)
		}
		if _, err := k.Cancel(s.Context(), busy.ID, "ann"); err != nil {
			s.Error(err)
		}
		time.Sleep(3 * time.Second)
		for _, r := range s.records() {
			if r.ID == failed.ID || r.ID == next.ID && (r.Status != kapi.StatusRunning || r.Defined.Origin != failed.ID) {
				s.Errorf("when its turn has come: %+v", r)
			}
		}
	})
}
