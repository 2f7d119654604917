package peer_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A testStore is a store in memory whose methods can be made to fail. Several peers may use it. It is
// closed at the end of the test, after them.
type testStore struct {
	*sqlite.Store
	mu sync.Mutex
	// before is called before each method. If it returns an error, the method returns that.
	before func(method string) error
	// after is called after each Commit that succeeded. If it returns an error, Commit returns
	// that, although the transaction is committed.
	after func(store.Writes) error
	// forgotten are actions that snapshots don't have.
	forgotten []string
}

func newStore(t testing.TB) *testStore {
	t.Helper()
	inner, err := sqlite.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inner.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testStore{Store: inner}
}

// failing makes the named methods fail with err, or all methods that reach the store if none is named.
func (s *testStore) failing(err error, methods ...string) {
	s.setBefore(func(method string) error {
		for _, m := range methods {
			if m == method {
				return err
			}
		}
		if len(methods) == 0 {
			return err
		}
		return nil
	})
}

func (s *testStore) healed() { s.setBefore(nil) }

func (s *testStore) setBefore(f func(string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

func (s *testStore) setAfter(f func(store.Writes) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = f
}

func (s *testStore) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgotten = append(s.forgotten, id)
}

func (s *testStore) ask(method string) error {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(method)
}

func (s *testStore) Snapshot(ctx context.Context) (store.Snapshot, error) {
	if err := s.ask("Snapshot"); err != nil {
		return store.Snapshot{}, err
	}
	snapshot, err := s.Store.Snapshot(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot.Records = slices.DeleteFunc(snapshot.Records, func(r store.Record) bool {
		return slices.Contains(s.forgotten, r.ID)
	})
	return snapshot, err
}

func (s *testStore) Some(ctx context.Context, ids []string) (store.Snapshot, error) {
	if err := s.ask("Some"); err != nil {
		return store.Snapshot{}, err
	}
	snapshot, err := s.Store.Some(ctx, ids)
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot.Records = slices.DeleteFunc(snapshot.Records, func(r store.Record) bool { return slices.Contains(s.forgotten, r.ID) })
	return snapshot, err
}

func (s *testStore) Feed(ctx context.Context, since uint64) (store.Page, error) {
	if err := s.ask("Feed"); err != nil {
		return store.Page{}, err
	}
	return s.Store.Feed(ctx, since)
}

func (s *testStore) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	if err := s.ask("Commit"); err != nil {
		return err
	}
	b = b.Again() // as a store does that had to wait for its lock
	var writes store.Writes
	err := s.Store.Commit(ctx, b, func(l store.Loaded) (w store.Writes, err error) {
		writes, err = decide(l)
		return writes, err
	})
	s.mu.Lock()
	after := s.after
	s.mu.Unlock()
	if err != nil || after == nil {
		return err
	}
	return after(writes)
}

func (s *testStore) Renew(ctx context.Context, r store.RunnerRecord) error {
	if err := s.ask("Renew"); err != nil {
		return err
	}
	return s.Store.Renew(ctx, r)
}

func (s *testStore) Runners(ctx context.Context, ids []string) ([]store.RunnerRecord, error) {
	if err := s.ask("Runners"); err != nil {
		return nil, err
	}
	return s.Store.Runners(ctx, ids)
}

func (s *testStore) Saved(ctx context.Context, action string) ([]store.Saved, error) {
	if err := s.ask("Saved"); err != nil {
		return nil, err
	}
	return s.Store.Saved(ctx, action)
}

func (s *testStore) Close() error { return nil }

// openPeer opens a peer that follows all peers.
func openPeer(t testing.TB, store store.Store, options peer.Options) *peer.Peer {
	t.Helper()
	k := openLight(t, store, options)
	if err := k.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

// openLight opens a light peer: one that doesn't follow the others yet.
func openLight(t testing.TB, store store.Store, options peer.Options) *peer.Peer {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	k, err := peer.Open(t.Context(), store, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// newPeer opens a peer with its own store in memory.
func newPeer(t testing.TB) *peer.Peer { return openPeer(t, newStore(t), peer.Options{}) }

// untilStopped is an operation that runs until it is asked to stop.
func untilStopped(ctx context.Context, _ kapi.Handle) error {
	<-ctx.Done()
	return ctx.Err()
}

// start starts an action and fails the test if that fails.
func start(t testing.TB, k *peer.Peer, spec kapi.Spec, op kapi.Operation) kapi.Action {
	t.Helper()
	if spec.Title == "" {
		spec.Title = t.Name()
	}
	a, err := k.Start(t.Context(), spec, op)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fail leaves a failed action behind.
func fail(t testing.TB, k *peer.Peer, spec kapi.Spec, text string) kapi.Action {
	t.Helper()
	a := start(t, k, spec, func(context.Context, kapi.Handle) error { return errors.New(text) })
	return await(t, k, a.ID, is(kapi.StatusFailed))
}

func is(s kapi.Status) func(kapi.Action) bool {
	return func(a kapi.Action) bool { return a.Status == s }
}

// await waits until an action is as wanted. It fails if the action ended before the call.
func await(t testing.TB, k *peer.Peer, id string, wanted func(kapi.Action) bool) kapi.Action {
	t.Helper()
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, a := range w.Snapshot {
		if a.ID == id && wanted(a) {
			return a
		}
	}
	return awaitNext(t, w, id, wanted)
}

func awaitNext(t testing.TB, w *peer.Watch, id string, wanted func(kapi.Action) bool) kapi.Action {
	t.Helper()
	for {
		a, err := w.Next(t.Context())
		if err != nil {
			t.Fatalf("waiting for %s: %v", id, err)
		}
		if a.ID == id && wanted(a) {
			return a
		}
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

func newLogger(o *kapitest.Output) *slog.Logger { return slog.New(slog.NewTextHandler(o, nil)) }
