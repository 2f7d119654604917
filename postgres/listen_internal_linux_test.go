package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
)

// listening calls Listen until t ends, and sends the errors that it returns before.
func listening(t *testing.T, s *Store) (woken chan struct{}, returned chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	woken, returned = make(chan struct{}, 1), make(chan error, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			err := s.Listen(ctx, func() {
				select {
				case woken <- struct{}{}:
				default:
				}
			})
			if err != nil {
				returned <- err
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return woken, returned
}

// TestListenAgain: when the listener's connection is ended, Listen returns an error once, and then listens
// again. Commits in between wake it. A light peer listens on its only connection.
func TestListenAgain(t *testing.T) {
	for role, full := range map[string]bool{"listen": true, "commit": false} {
		t.Run(role, func(t *testing.T) { hearsAgain(t, role, full) })
	}
}

func hearsAgain(t *testing.T, role string, full bool) {
	s, database := newStore(t)
	s.widen(full)
	woken, returned := listening(t, s)
	kapitest.Receive(t, woken, "the first wake-up, once it listens")
	mustInsert(t, openFor(t, server.DSN(database)), "a")
	kapitest.Receive(t, woken, "a commit")
	for range 2 {
		terminate(t, database, role)
		if err := kapitest.Receive(t, returned, "Listen to return that its connection ended"); !errors.Is(err, kapi.ErrUnavailable) {
			t.Error(err)
		}
		kapitest.Receive(t, woken, "the wake-up once it listens again")
		kapitest.Eventually(t, "it listens", func() bool { return activity(t, database, role, "query LIKE 'LISTEN%'") == 1 })
	}
}

// TestOwnCommits: the store's own commits don't wake it.
func TestOwnCommits(t *testing.T) {
	s, database := newStore(t)
	other := openFor(t, server.DSN(database))
	s.widen(true) // otherwise it listens anew after its first commit
	var calls atomic.Int32
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		if err := s.Listen(ctx, func() { calls.Add(1) }); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		served.Wait()
	})
	kapitest.Eventually(t, "it listens", func() bool { return calls.Load() == 1 })
	for i := range 5 {
		mustInsert(t, s, fmt.Sprint("own", i))
	}
	mustInsert(t, other, "other")
	// Notifications arrive in the order of the commits, so those of its own commits have arrived by then.
	kapitest.Eventually(t, "it is woken", func() bool { return calls.Load() > 1 })
	if n := calls.Load(); n != 2 {
		t.Errorf("one commit by another store, among its own, woke it %d times", n-1)
	}
}

// TestDeaf: if LISTEN succeeds but nothing arrives, as behind a transaction pooler, Listen returns an error
// once, and then wakes several times a second.
func TestDeaf(t *testing.T) {
	elsewhere := server.Database(t)
	s := openAt(t, server.DSN(server.Database(t)), Options{ListenDSN: server.DSN(elsewhere)})
	t.Cleanup(func() { _ = s.Close() })
	woken, returned := listening(t, s)
	if err := kapitest.Receive(t, returned, "Listen to return that nothing arrives"); !strings.Contains(err.Error(), "--store-listen") {
		t.Error(err)
	}
	for range 5 {
		kapitest.Receive(t, woken, "a wake-up by polling")
	}
	select {
	case err := <-returned:
		t.Errorf("Listen returned again: %v", err)
	default:
	}
}

// TestListenClosed: Listen returns when the store is closed.
func TestListenClosed(t *testing.T) {
	s := openAt(t, server.DSN(server.Database(t)), Options{})
	returned, woken := make(chan error, 1), make(chan struct{}, 100)
	go func() { returned <- s.Listen(context.Background(), func() { woken <- struct{}{} }) }()
	kapitest.Receive(t, woken, "the first wake-up")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := kapitest.Receive(t, returned, "Listen to return"); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

// TestSharedConnection: while a light peer listens, its calls don't have to wait for its connection, and afterwards
// the session listens no more. A full peer listens on another connection.
func TestSharedConnection(t *testing.T) {
	s, database := newStore(t)
	mustCommitBy(t, s, "a", "r")
	ctx, cancel := context.WithCancel(kapitest.Within(t))
	defer cancel()
	heard, woken := make(chan error, 1), make(chan struct{}, 1)
	wake := func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}
	go func() { heard <- s.Listen(ctx, wake) }()
	kapitest.Receive(t, woken, "the first wake-up")
	const calls = 30
	began := time.Now()
	for range calls {
		if _, err := s.Some(kapitest.Within(t), nil); err != nil {
			t.Error(err)
		}
	}
	if took := time.Since(began); took > calls*hearFor/4 {
		t.Errorf("%d calls took %v", calls, took)
	}
	channels := func() (n int) {
		t.Helper()
		err := s.use(kapitest.Within(t), s.toWrite, func(l *link) error {
			return l.conn.QueryRow(kapitest.Within(t), "SELECT count(*) FROM pg_listening_channels()").Scan(&n)
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if n := channels(); n != 1 {
		t.Errorf("it listens to %d channels", n)
	}
	wantIDs(t, s, "a") // makes it a full peer
	kapitest.Eventually(t, "it listens on another connection", func() bool { return activity(t, database, "listen", "true") == 1 })
	if n := channels(); n != 0 {
		t.Errorf("on the old connection it listens to %d channels", n)
	}
	cancel()
	if err := kapitest.Receive(t, heard, "the end of Listen"); err != nil {
		t.Error(err)
	}
}
