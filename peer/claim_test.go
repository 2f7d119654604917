package peer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/operation"
	"github.com/kettubot/kapi/peer"
)

// Of a hundred peers that claim one action at once, one gets it. The others make next to no transactions, and say nothing.
func TestManyClaims(t *testing.T) {
	onSite(t, func(s *site) {
		var runs, commits atomic.Int64
		d := move(operation.Of[moveArgs]{Run: func(ctx context.Context, h kapi.OperationHandle, _ moveArgs) error {
			runs.Add(1)
			return untilStopped(ctx, h)
		}})
		k := s.light()
		var said kapitest.Output
		s.store.failing(context.DeadlineExceeded, "Saved") // until all of them have seen the start
		for range 100 {
			openPeer(s, s.store, peer.Options{Operations: []kapi.Definition{d}, Logger: newLogger(&said)}.WithClock(s.clock, s.clock))
		}
		a := s.begin(k, `{"from":"a"}`, kapi.StartOptions{})
		before := len(said.String())
		s.store.setBefore(func(method string) error {
			if method == "Commit" {
				commits.Add(1)
			}
			return nil
		})
		time.Sleep(3 * time.Second)
		if all := s.records(); len(all) != 1 || all[0].ID != a.ID || all[0].Status != kapi.StatusRunning || runs.Load() != 1 {
			s.Errorf("%d runs of %+v", runs.Load(), all)
		}
		if n := commits.Load(); n > 30 {
			s.Errorf("%d transactions for one claim", n)
		}
		if text := said.String()[before:]; strings.Count(text, "\n") != 1 || !strings.Contains(text, "action claimed") {
			s.Errorf("the peers say:\n%s", text)
		}
	})
}

// Each of many starts is claimed by one of several peers.
func TestManyStarts(t *testing.T) {
	onSite(t, func(s *site) {
		var mu sync.Mutex
		runs := map[string]int{}
		for range 5 {
			s.light(move(operation.Of[moveArgs]{Run: func(_ context.Context, h kapi.OperationHandle, _ moveArgs) error {
				mu.Lock()
				defer mu.Unlock()
				runs[h.ID()]++
				return nil
			}}))
		}
		k := s.full()
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() { s.begin(k, fmt.Sprintf(`{"from":"%d"}`, i), kapi.StartOptions{}) })
		}
		all.Wait()
		time.Sleep(5 * time.Second)
		s.none()
		for id, n := range runs {
			if n != 1 {
				s.Errorf("%s ran %d times", id, n)
			}
		}
		if len(runs) != 200 {
			s.Errorf("%d of 200 starts ran", len(runs))
		}
	})
}

// An action whose arguments take long to check doesn't keep the others waiting, and is claimed in the end.
func TestSlowClaim(t *testing.T) {
	onSite(t, func(s *site) {
		d := move(operation.Of[moveArgs]{})
		check := d.Check
		d.Check = func(arguments json.RawMessage) (json.RawMessage, []kapi.FieldError) {
			if string(arguments) == `{"from":"slow"}` {
				time.Sleep(time.Minute)
			}
			return check(arguments)
		}
		s.light(d)
		k := s.light()
		slow := s.begin(k, `{"from":"slow"}`, kapi.StartOptions{}) // after 5 seconds it is returned as pending
		if slow.Status != kapi.StatusPending {
			s.Errorf("it is %v", slow.Status)
		}
		began := time.Now()
		if other := s.begin(k, `{"from":"a"}`, kapi.StartOptions{}); other.Status != kapi.StatusRunning {
			s.Errorf("after %v another one is %v", time.Since(began), other.Status)
		}
		time.Sleep(time.Minute)
		if all := s.records(); len(all) != 2 || all[0].Status != kapi.StatusRunning || all[1].Status != kapi.StatusRunning {
			s.Errorf("in the end: %+v", all)
		}
	})
}

// If it is unknown whether a claim was committed, another peer gets the action in the end, and it runs once.
func TestClaimInDoubt(t *testing.T) {
	for _, committed := range []bool{true, false} {
		t.Run(fmt.Sprintf("committed=%v", committed), func(t *testing.T) {
			onSite(t, func(s *site) {
				var runs atomic.Int64
				s.light(move(operation.Of[moveArgs]{Resume: &kapi.Resume{}, Run: func(ctx context.Context, h kapi.OperationHandle, _ moveArgs) error {
					runs.Add(1)
					return untilStopped(ctx, h)
				}}))
				k := s.light()
				doubt := fmt.Errorf("%w: %w", kapi.ErrUnavailable, kapi.ErrOutcomeUnknown)
				var once atomic.Bool
				claims := func(w store.Writes) error {
					if committed && len(w.Update) == 1 && w.Update[0].Defined != nil && w.Update[0].Runner != nil && !once.Swap(true) {
						return doubt
					}
					return nil
				}
				s.store.setAfter(claims)
				if !committed {
					s.store.setBefore(func(method string) error {
						if method == "Commit" && s.head().Seq == 1 && !once.Swap(true) {
							return doubt
						}
						return nil
					})
				}
				a := s.begin(k, `{"from":"a"}`, kapi.StartOptions{})
				time.Sleep(10 * time.Second)
				if all := s.records(); len(all) != 1 || all[0].ID != a.ID || all[0].Status != kapi.StatusRunning || runs.Load() != 1 || !once.Load() {
					s.Errorf("%d runs of %+v", runs.Load(), all)
				}
			})
		})
	}
}

// An action that a closing peer hands over is claimed by another one at once, also when the first has it again.
func TestHandedBackAndForth(t *testing.T) {
	onSite(t, func(s *site) {
		d := move(operation.Of[moveArgs]{Resume: &kapi.Resume{}})
		k := s.full(d)
		a := s.begin(k, `{"from":"a","held":"lock"}`, kapi.StartOptions{})
		for range 3 {
			next := s.full(d)
			if err := k.Close(); err != nil {
				s.Error(err)
			}
			time.Sleep(1500 * time.Millisecond)
			all := s.records()
			if len(all) != 1 || all[0].ID != a.ID || all[0].Status != kapi.StatusRunning || all[0].RunnerID() != next.Self().ID ||
				len(all[0].Keys) != 1 || all[0].Attempt > 1 {
				s.Errorf("%+v", all)
			}
			k = next
		}
	})
}
