package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

func thrice(d *kapi.Definition) {
	d.Retry = kapi.Retry{Attempts: 3, First: 10 * time.Second, Most: 10 * time.Second}
}

// An operation that fails is tried again after a pause, in which the action is impacted. Attempts are counted anew from
// each new checkpoint.
func TestRetries(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls(thrice)
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		for n, saves := range []bool{false, true, false, false} {
			now := <-ran
			if now.Attempt() != n+1 {
				t.Errorf("attempt %d is called %d", n+1, now.Attempt())
			}
			now.SetState("file 5")
			if saves {
				must(t, now.Checkpoint(place{n}))
			}
			began := time.Now()
			now.end <- errBroken
			if n == 3 {
				break
			}
			synctest.Wait()
			of := max(n, 1)
			want := fmt.Sprintf("attempt %d of 3 failed: disk broken; goes on at %s", of, began.Add(10*time.Second).UTC().Format(time.RFC3339))
			wantShown(t, a.Peer, action.ID, kapi.StatusImpacted, want)
			time.Sleep(10*time.Second + time.Second/2)
			shown := wantShown(t, a.Peer, action.ID, kapi.StatusRunning, "file 5")
			if shown.Attempt != n+2 {
				t.Errorf("it is shown as attempt %d, want %d", shown.Attempt, n+2)
			}
			wantError(t, now.Checkpoint(place{9}), kapi.ErrUnknown) // a goroutine that the call has left behind
			wantError(t, now.Proceed(t.Context()), kapi.ErrUnknown)
			wantError(t, now.Impacted("late"), kapi.ErrUnknown)
			now.SetState("late")
		}
		synctest.Wait()
		wantShown(t, a.Peer, action.ID, kapi.StatusFailed, "disk broken")
	})
}

// An attempt whose report is committed, although the answer is lost, counts once.
func TestAttemptCountsOnce(t *testing.T) {
	onSite(t, func(s *site) {
		d, ran := calls(thrice)
		a := member{Peer: s.full(d)}
		action := a.begin(s)
		(<-ran).end <- errBroken
		lost := 0
		s.store.setAfter(func(w store.Writes) error {
			for i := range w.Update {
				if w.Update[i].Attempt == 2 && lost == 0 {
					lost++
					return fmt.Errorf("%w: %w", kapi.ErrUnavailable, kapi.ErrOutcomeUnknown)
				}
			}
			return nil
		})
		second := <-ran
		if shown := get(s, a.Peer, action.ID); lost != 1 || second.Attempt() != 2 || shown.Attempt != 2 {
			s.Errorf("after %d lost answers it is attempt %d, shown as %d", lost, second.Attempt(), shown.Attempt)
		}
		second.end <- nil
		synctest.Wait()
	})
}

func TestNotRetried(t *testing.T) {
	for name, run := range map[string]func() error{
		"permanent": func() error { return fmt.Errorf("copy: %w", errors.Join(errBroken, kapi.ErrPermanent)) },
		"a panic":   func() error { panic("wrong index") },
		"no return": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			playCast(t, func(t *testing.T, c *cast) {
				ran := 0
				d, _ := calls(thrice)
				d.Run = func(context.Context, kapi.OperationHandle, json.RawMessage) error { ran++; return run() }
				a := c.join(peer.Options{}, d)
				action := a.begin(t)
				time.Sleep(time.Minute)
				if shown := get(t, a.Peer, action.ID); shown.Status != kapi.StatusFailed || ran != 1 {
					t.Errorf("after %d attempts it is %v", ran, shown.Status)
				}
			})
		})
	}
}

// What stops an operation ends the pause before its next attempt at once.
func TestBackOffEnds(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls(thrice)
		a, b := c.join(peer.Options{}, d), c.join(peer.Options{}, d)
		action := a.begin(t)
		(<-ran).end <- errBroken
		time.Sleep(3 * time.Second)
		stopped := time.Now()
		must(t, a.Close())
		second := <-ran
		within(t, stopped, aLook, "the hand-over")
		if second.Attempt() != 1 {
			t.Errorf("attempt %d", second.Attempt())
		}
		synctest.Wait()
		wantShown(t, b.Peer, action.ID, kapi.StatusRunning, "")
		second.end <- errBroken
		time.Sleep(3 * time.Second)
		asked := time.Now()
		if _, err := b.Cancel(t.Context(), action.ID, "ben"); err != nil {
			t.Fatal(err)
		}
		await(t, b.Peer, action.ID, is(kapi.StatusFailed))
		within(t, asked, time.Second, "the cancel")
		wantShown(t, b.Peer, action.ID, kapi.StatusFailed, "cancelled by ben: disk broken")
	})
}

// A pause between two attempts stands still while the operation is paused.
func TestBackOffPauses(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls(thrice)
		a := c.join(peer.Options{}, d)
		action := a.begin(t)
		(<-ran).end <- errBroken
		time.Sleep(4 * time.Second)
		pause(t, a.Peer, action.ID)
		time.Sleep(time.Hour)
		wantShown(t, a.Peer, action.ID, kapi.StatusImpacted, "paused by ann")
		if _, err := a.Unpause(t.Context(), action.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if now := get(t, a.Peer, action.ID); !strings.HasPrefix(now.State, "attempt 1 of 3 failed: ") {
			t.Errorf("after the pause its state is %q", now.State)
		}
		again := time.Now()
		second := <-ran
		if took := time.Since(again); took != 6*time.Second {
			t.Errorf("after the pause it waited %v, want the 6 s that were left", took)
		}
		second.end <- nil
		synctest.Wait()
	})
}

func get(t testing.TB, k *peer.Peer, id string) kapi.Action {
	t.Helper()
	a, err := k.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func pause(t testing.TB, k *peer.Peer, id string) {
	t.Helper()
	if _, err := k.Pause(t.Context(), id, "ann"); err != nil {
		t.Fatal(err)
	}
}
