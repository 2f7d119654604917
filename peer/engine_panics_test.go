package peer_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

// With a fault.Net, no caller waits for ever after a panic in the engine, and the engine continues. Each
// method of the store here is called by a different goroutine.
func TestEngineGoesOnBehindAPanic(t *testing.T) {
	for _, method := range []string{"Commit", "Feed", "Renew", "Runners"} {
		t.Run(method, func(t *testing.T) {
			store := newStore(t)
			caught := make(chan *fault.Panic, 100)
			ctx := fault.With(t.Context(), fault.NewNet(func(p *fault.Panic) { caught <- p }))
			k, err := peer.Open(ctx, store, peer.Options{Logger: newLogger(new(kapitest.Output)), Lease: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			other := openPeer(t, &testStore{Store: store.Store}, peer.Options{})
			end := make(chan struct{})
			a := start(t, k, kapi.Spec{Keys: []string{"k"}}, func(context.Context, kapi.Handle) error {
				<-end
				return nil
			})
			var once sync.Once
			store.setBefore(func(m string) error {
				if m == method {
					once.Do(func() { panic(method) })
				}
				return nil
			})
			start(t, other, kapi.Spec{}, untilStopped) // something to read in the feed, and somebody to watch
			if method == "Commit" {
				_, err := k.Start(t.Context(), kapi.Spec{Title: "t"}, untilStopped)
				wantError(t, err, kapi.ErrUnavailable)
				wantError(t, err, kapi.ErrOutcomeUnknown)
			}
			if p := kapitest.Receive(t, caught, "the panic"); p.Value != method {
				t.Fatalf("caught %v\n%s", p, p.Stack)
			}
			w, err := k.Watch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			close(end)
			awaitNext(t, w, a.ID, is(kapi.StatusCompleted))
			b := start(t, k, kapi.Spec{Keys: []string{"k"}}, untilStopped)
			if _, err := other.Cancel(t.Context(), b.ID, "ada"); err != nil {
				t.Fatal(err)
			}
			await(t, k, b.ID, is(kapi.StatusFailed))
		})
	}
}
