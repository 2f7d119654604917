package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
	"github.com/kettubot/kapi/peer"
)

// A preflight that fails, however it does, refuses the start, and the starter gets the reason wherever it is.
func TestPreflightRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		preflight func(ctx context.Context) error
		reason    string
		took      time.Duration
	}{
		"error":     {func(context.Context) error { return errors.New("disk full") }, "disk full", 0},
		"no reason": {func(context.Context) error { return errors.New("") }, "it gave no reason", 0},
		"panic":     {func(context.Context) error { panic("oh") }, "panic: oh", 0},
		"exit":      {func(context.Context) error { runtime.Goexit(); return nil }, "its goroutine exited without returning", 0},
		"hangs":     {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "it did not end within 1m0s", time.Minute},
	} {
		d := move(operation.Of[moveArgs]{Preflight: func(ctx context.Context, _ moveArgs) (kapi.Preview, error) {
			return kapi.Preview{}, c.preflight(ctx)
		}})
		t.Run(name, func(t *testing.T) {
			everywhere(t, d, func(s *site, k *peer.Peer) {
				began := time.Now()
				started, err := k.StartOperation(s.Context(), "move", json.RawMessage(`{"from":"a","held":"lock"}`), kapi.StartOptions{})
				if c.took > 5*time.Second && err == nil { // the start was recorded elsewhere, and is still pending
					if started.Action.Status != kapi.StatusPending || time.Since(began) != 5*time.Second {
						s.Errorf("after %v: %+v", time.Since(began), started)
					}
					time.Sleep(c.took)
					s.none()
					return
				}
				var refused *kapi.PreflightError
				if !errors.As(err, &refused) || refused.Operation != "move" || refused.Reason != c.reason {
					s.Errorf("started %+v, error %v, want %s", started, err, c.reason)
				}
				s.none()
			})
		})
	}
}

// A preflight that ignores its context is left behind after its time, and holds nothing up.
func TestPreflightIgnoresItsContext(t *testing.T) {
	onSite(t, func(s *site) {
		end := make(chan struct{})
		d := move(operation.Of[moveArgs]{Preflight: func(context.Context, moveArgs) (kapi.Preview, error) {
			<-end
			return kapi.Preview{}, nil
		}})
		s.refused(s.full(d), `{"from":"a"}`, kapi.StartOptions{}, &kapi.PreflightError{Operation: "move", Reason: "it did not end within 1m0s"})
		s.none()
		close(end)
	})
}

// While its preflight runs, an action is pending and has its keys. It can be cancelled, and ends at once.
func TestCancelDuringPreflight(t *testing.T) {
	d := move(operation.Of[moveArgs]{Preflight: func(ctx context.Context, _ moveArgs) (kapi.Preview, error) {
		<-ctx.Done()
		return kapi.Preview{}, ctx.Err()
	}})
	everywhere(t, d, func(s *site, k *peer.Peer) {
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, err = k.StartOperation(s.Context(), "move", json.RawMessage(`{"from":"a","held":"lock"}`), kapi.StartOptions{})
		}()
		time.Sleep(2 * time.Second) // peers of a store in memory look once a second
		all := s.records()
		if len(all) != 1 || all[0].Status != kapi.StatusPending || len(all[0].Keys) != 1 || all[0].Runner == nil {
			s.Fatalf("%+v", all)
		}
		if _, err := k.Cancel(s.Context(), all[0].ID, "ann"); err != nil {
			s.Error(err)
		}
		<-done
		if cancelled := (*kapi.CancelledError)(nil); !errors.As(err, &cancelled) || cancelled.By != "ann" {
			s.Errorf("the starter got %v", err)
		}
		s.none()
	})
}

// A caller that leaves during the preflight takes the start with it at the peer that runs it.
func TestStarterLeavesDuringPreflight(t *testing.T) {
	onSite(t, func(s *site) {
		k := s.full(move(operation.Of[moveArgs]{Preflight: func(ctx context.Context, _ moveArgs) (kapi.Preview, error) {
			<-ctx.Done()
			return kapi.Preview{}, ctx.Err()
		}}))
		ctx, cancel := context.WithTimeout(s.Context(), time.Second)
		defer cancel()
		_, err := k.StartOperation(ctx, "move", json.RawMessage(`{"from":"a"}`), kapi.StartOptions{})
		if !errors.Is(err, context.DeadlineExceeded) {
			s.Errorf("%v", err)
		}
		s.none()
	})
}

// A start whose preflight passes costs one commit more; it begins only then.
func TestPreflightPasses(t *testing.T) {
	var passed bool
	d := move(operation.Of[moveArgs]{
		Preflight: func(context.Context, moveArgs) (kapi.Preview, error) {
			time.Sleep(time.Second)
			passed = true
			return kapi.Preview{}, nil
		},
		Run: func(ctx context.Context, h kapi.OperationHandle, _ moveArgs) error {
			if !passed {
				return errors.New("it began before its preflight had passed")
			}
			return untilStopped(ctx, h)
		},
	})
	everywhere(t, d, func(s *site, k *peer.Peer) {
		passed = false
		a := s.begin(k, `{"from":"a"}`, kapi.StartOptions{})
		synctest.Wait()
		if r := s.records(); a.Status != kapi.StatusRunning || len(r) != 1 || r[0].Status != kapi.StatusRunning {
			s.Errorf("started %+v, then %+v", a, r)
		}
	})
}

// An operation with a preflight that waits for its turn is looked at when its turn has come, and its refusal ends it.
func TestPreflightAfterWaiting(t *testing.T) {
	var full bool
	d := move(operation.Of[moveArgs]{Limit: 1, Preflight: func(context.Context, moveArgs) (kapi.Preview, error) {
		if full {
			return kapi.Preview{}, errors.New("disk full")
		}
		return kapi.Preview{}, nil
	}})
	everywhere(t, d, func(s *site, k *peer.Peer) {
		full = false
		first := s.begin(k, `{"from":"a"}`, kapi.StartOptions{})
		waits := s.begin(k, `{"from":"b"}`, kapi.StartOptions{Wait: -1})
		if w := waits.WaitsFor; waits.Status != kapi.StatusPending || w == nil || w.Operation != "move" || w.Action != first.ID {
			s.Fatalf("the second: %+v", waits)
		}
		full = true
		if _, err := k.Cancel(s.Context(), first.ID, "ann"); err != nil {
			s.Error(err)
		}
		time.Sleep(3 * time.Second)
		if all := s.records(); len(all) != 1 || all[0].ID != first.ID {
			s.Errorf("%+v", all)
		}
	})
}
