package postgres

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/peer"
)

// TestAsynchronousFailover: a standby that was behind is promoted. A new epoch begins, and new fences are
// above all old ones, including those that are lost. Running actions that it lacks are recorded again,
// with their keys; those that it has continue.
func TestAsynchronousFailover(t *testing.T) {
	primary := pgtest.For(t, pgtest.Options{Durable: true, TCP: true, Settings: map[string]string{"max_connections": "30"}})
	standby := primary.Standby(t, false)
	s := openAt(t, pgtest.DSN("postgres", primary, standby), Options{})
	k, err := peer.Open(kapitest.Within(t), s, peer.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	kept := begin(t, k, "kept")
	primary.AwaitFlush(t)
	standby.Halt()
	lost := begin(t, k, "lost")
	before := headOf(t, s)

	primary.Kill()
	if err := standby.Start(); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	var held *kapi.HeldError
	_, err = k.Start(kapitest.Within(t), kapi.Spec{Title: "second", Keys: []string{"lost"}}, func(context.Context, kapi.Handle) error { return nil })
	if !errors.As(err, &held) || held.Holder.ID != lost.handle.ID() {
		t.Errorf("a second start: %v, want it to be refused by %s", err, lost.handle.ID())
	}
	if after := headOf(t, s); after.Epoch == before.Epoch || after.Seq <= before.Seq {
		t.Errorf("the head was %v, and is %v", before, after)
	}
	if err := lost.end(); err != nil {
		t.Errorf("the lost action: %v", err)
	}
	kapitest.Eventually(t, "the key is free", func() bool {
		list, err := k.List(kapitest.Within(t))
		return err == nil && len(list) == 1
	})
	again := begin(t, k, "lost")
	if again.handle.Fence() <= lost.handle.Fence() {
		t.Errorf("the fence was %d, and is %d", lost.handle.Fence(), again.handle.Fence())
	}
	for _, w := range []*work{kept, again} {
		if err := w.end(); err != nil {
			t.Errorf("action %s: %v", w.handle.ID(), err)
		}
	}
	kapitest.Eventually(t, "all have ended", func() bool {
		list, err := k.List(kapitest.Within(t))
		return err == nil && len(list) == 0
	})
}

// A work is an operation that runs until it is told to end, or has lost its action.
type work struct {
	t      *testing.T
	handle kapi.Handle
	stop   chan struct{}
	ended  chan error // why its context ended
}

func begin(t *testing.T, k *peer.Peer, key string) *work {
	t.Helper()
	w := &work{t: t, stop: make(chan struct{}), ended: make(chan error, 1)}
	began := make(chan kapi.Handle, 1)
	_, err := k.Start(kapitest.Within(t), kapi.Spec{Title: key, Keys: []string{key}}, func(ctx context.Context, h kapi.Handle) error {
		began <- h
		var err error
		select {
		case <-w.stop:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		w.ended <- err
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.handle = <-began
	return w
}

// end ends the work. It returns nil, or the reason why the work had ended before.
func (w *work) end() error {
	w.t.Helper()
	close(w.stop)
	return w.why()
}

func (w *work) why() error {
	w.t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-kapitest.Within(w.t).Done():
		w.t.Fatalf("the operation of %s does not end", w.handle.ID())
		return nil
	}
}
