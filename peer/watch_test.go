package peer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// A slow reader gets the newest state of each action, in order of seq, and all endings.
func TestSlowWatcher(t *testing.T) {
	k := newPeer(t)
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var ids []string
	for i := range 10 {
		id := make(chan string, 1)
		err := k.Do(t.Context(), kapi.Spec{Title: "t"}, func(_ context.Context, h kapi.Handle) error {
			id <- h.ID()
			for j := range 5 {
				if err := h.Impacted(fmt.Sprint("reason ", i, j)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, <-id)
	}
	var last uint64
	for _, id := range ids {
		a, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if a.ID != id || a.Status != kapi.StatusCompleted || a.Seq <= last {
			t.Errorf("told %+v after seq %d, want the end of %s", a, last, id)
		}
		last = a.Seq
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("also told %+v, %v", a, err)
	}
}

// A watch begins where its snapshot ends.
func TestWatchSnapshot(t *testing.T) {
	k := newPeer(t)
	before := start(t, k, kapi.Spec{}, untilStopped)
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if len(w.Snapshot) != 1 || w.Snapshot[0].ID != before.ID || w.Seq < before.Seq || w.Epoch == "" {
		t.Errorf("snapshot %+v at %s, %d", w.Snapshot, w.Epoch, w.Seq)
	}
	after := start(t, k, kapi.Spec{}, untilStopped)
	if a, err := w.Next(t.Context()); err != nil || a.ID != after.ID || a.Seq != after.Seq {
		t.Errorf("told %+v, %v", a, err)
	}
}

func TestWatchClose(t *testing.T) {
	k := newPeer(t)
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		_, err := w.Next(t.Context())
		wantError(t, err, kapi.ErrClosed)
	})
	w.Close()
	w.Close()
	all.Wait()
	start(t, k, kapi.Spec{}, untilStopped)
	_, err = w.Next(t.Context())
	wantError(t, err, kapi.ErrClosed)
}

// Two peers of a store see each other's changes.
func TestTwoPeers(t *testing.T) {
	store := newStore(t)
	one, two := openPeer(t, store, peer.Options{}), openPeer(t, store, peer.Options{})
	a := start(t, one, kapi.Spec{Keys: []string{"k"}}, untilStopped)
	got, err := two.Get(t.Context(), a.ID)
	if err != nil || got.Seq != a.Seq || got.Runner.ID != one.Self().ID {
		t.Errorf("the other peer has %+v, %v", got, err)
	}
	var held *kapi.HeldError
	_, err = two.Start(t.Context(), kapi.Spec{Title: "t", Keys: []string{"k"}}, untilStopped)
	if !errors.As(err, &held) || held.Holder.ID != a.ID {
		t.Errorf("the other peer's start: %v", err)
	}
	if _, err := two.Cancel(t.Context(), a.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	await(t, one, a.ID, is(kapi.StatusFailed))
	if _, err := two.Dismiss(t.Context(), a.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if all, err := one.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("listed %+v, %v", all, err)
	}
}
