package peer_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

// A planned shutdown asks operations to stop and lets them report how they ended.
func TestCloseInOrder(t *testing.T) {
	store := newStore(t)
	k := openPeer(t, store, peer.Options{})
	obeys := start(t, k, kapi.Spec{Keys: []string{"a"}}, func(ctx context.Context, _ kapi.Handle) error {
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), kapi.ErrStopped) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		return ctx.Err()
	})
	fails := start(t, k, kapi.Spec{}, func(ctx context.Context, _ kapi.Handle) error {
		<-ctx.Done()
		return errors.New("half done")
	})
	finishes := start(t, k, kapi.Spec{}, func(ctx context.Context, _ kapi.Handle) error {
		<-ctx.Done()
		return nil
	})
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	ends := map[string]kapi.Action{}
	for {
		a, err := w.Next(t.Context()) // the watch delivers what was committed before its end
		if errors.Is(err, kapi.ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		ends[a.ID] = a
	}
	for id, want := range map[string]struct {
		status kapi.Status
		state  string
	}{
		obeys.ID:    {kapi.StatusFailed, "kapi was stopped"},
		fails.ID:    {kapi.StatusFailed, "kapi was stopped: half done"},
		finishes.ID: {kapi.StatusCompleted, ""},
	} {
		if a := ends[id]; a.Status != want.status || a.State != want.state {
			t.Errorf("ended as %v %q, want %v %q", a.Status, a.State, want.status, want.state)
		}
	}
}

// An operation that does not stop in the grace period fails and keeps its keys. Its late end
// changes nothing.
func TestCloseAbandons(t *testing.T) {
	store := newStore(t)
	k, err := peer.Open(t.Context(), store, peer.Options{Grace: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	done := make(chan error)
	go func() {
		done <- k.Do(context.Background(), kapi.Spec{Title: "t", Keys: []string{"k"}, ReleaseOnFailure: true},
			func(_ context.Context, h kapi.Handle) error {
				h.SetState("slot 5")
				<-release
				return nil
			})
	}()
	for {
		if all, err := k.List(t.Context()); err != nil {
			t.Fatal(err)
		} else if len(all) == 1 {
			break
		}
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	close(release)
	wantError(t, <-done, kapi.ErrStopped)

	other := openPeer(t, store, peer.Options{})
	all, err := other.List(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("listed %+v, %v", all, err)
	}
	if a := all[0]; a.Status != kapi.StatusFailed || a.State != "kapi was stopped; not proven dead" || len(a.Keys) != 1 {
		t.Errorf("left as %+v", a)
	}
}

func TestClosed(t *testing.T) {
	k := newPeer(t)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	_, err := k.Start(t.Context(), kapi.Spec{Title: "t"}, untilStopped)
	wantError(t, err, kapi.ErrClosed)
	_, err = k.List(t.Context())
	wantError(t, err, kapi.ErrClosed)
	_, err = k.Get(t.Context(), "x")
	wantError(t, err, kapi.ErrClosed)
	_, err = k.Watch(t.Context())
	wantError(t, err, kapi.ErrClosed)
	_, err = k.Dismiss(t.Context(), "x", "ada")
	wantError(t, err, kapi.ErrClosed)
	_, err = k.Cancel(t.Context(), "x", "ada")
	wantError(t, err, kapi.ErrClosed)
	wantError(t, k.Ready(t.Context()), kapi.ErrClosed)
}

// Starts, reports and a Close at the same time: every action whose start was acknowledged has ended or
// failed.
func TestCloseRaces(t *testing.T) {
	for range 20 {
		store := newStore(t)
		k := openPeer(t, store, peer.Options{})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					err := k.Do(context.Background(), kapi.Spec{Title: "t"}, func(_ context.Context, h kapi.Handle) error {
						h.SetProgress(0.5)
						return h.Impacted("busy")
					})
					if errors.Is(err, kapi.ErrClosed) {
						return
					}
				}
			})
		}
		runtime.Gosched()
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
		other := openPeer(t, store, peer.Options{})
		left, err := other.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range left {
			if a.Status != kapi.StatusFailed {
				t.Errorf("left %+v", a)
			}
		}
	}
}

// A panic fails its action with the message, and its stack is logged. An operation that exits its
// goroutine fails, too. The process continues.
func TestPanic(t *testing.T) {
	log := new(kapitest.Output)
	k := openPeer(t, newStore(t), peer.Options{Logger: newLogger(log)})
	for _, tt := range []struct {
		op   kapi.Operation
		want string
	}{
		{func(context.Context, kapi.Handle) error { panic("at the disco") }, "panic: at the disco"},
		{func(context.Context, kapi.Handle) error { return [1]error{}[len(t.Name())] }, "panic: runtime error: index out of range [9] with length 1"},
		{func(context.Context, kapi.Handle) error { panic(nil) }, "panic: panic called with nil argument"},
		{func(context.Context, kapi.Handle) error { runtime.Goexit(); return nil }, "the operation's goroutine exited without returning"},
		{nil, "panic: runtime error: invalid memory address or nil pointer dereference"},
	} {
		err := k.Do(t.Context(), kapi.Spec{Title: "t"}, tt.op)
		if err == nil || err.Error() != tt.want {
			t.Errorf("error %v, want %s", err, tt.want)
		}
		a := await(t, k, start(t, k, kapi.Spec{}, tt.op).ID, is(kapi.StatusFailed))
		if a.State != tt.want {
			t.Errorf("state %q, want %q", a.State, tt.want)
		}
	}
	if text := log.String(); !strings.Contains(text, "close_test.go") {
		t.Errorf("no stack in the log: %s", text)
	}
}

// The end of Do's context asks the operation to stop; that of Start's doesn't.
func TestContextOfCaller(t *testing.T) {
	k := newPeer(t)
	ctx, cancel := context.WithCancel(t.Context())
	outlives, err := k.Start(ctx, kapi.Spec{Title: "outlives"}, untilStopped)
	if err != nil {
		t.Fatal(err)
	}
	running := make(chan string, 1)
	done := make(chan error)
	go func() {
		done <- k.Do(ctx, kapi.Spec{Title: "t"}, func(ctx context.Context, h kapi.Handle) error {
			running <- h.ID()
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	id := <-running
	cancel()
	wantError(t, <-done, context.Canceled)
	if a := await(t, k, id, is(kapi.StatusFailed)); a.State != "stopped by its caller: context canceled" {
		t.Errorf("state %q", a.State)
	}
	if a, err := k.Get(t.Context(), outlives.ID); err != nil || a.Status != kapi.StatusRunning {
		t.Errorf("the other is %+v, %v", a, err)
	}
}
