package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/badnet"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/internal/store"
)

// throughProxy opens a store through a proxy that can break connections.
func throughProxy(t *testing.T) (*Store, *badnet.Proxy, string) {
	t.Helper()
	database := server.Database(t)
	proxy := badnet.New(t, server.Address(), 0)
	return openFor(t, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", proxy.Address(), database)), proxy, database
}

// TestOutcome: if the connection breaks during a COMMIT, before or after the server receives it, the outcome
// is looked up, and the caller gets the true one.
func TestOutcome(t *testing.T) {
	s, proxy, database := throughProxy(t)
	direct := openFor(t, server.DSN(database))
	mustInsert(t, s, "first")
	err := insert(kapitest.Within(t), s, "lost", func() { proxy.Set(badnet.CutBefore) })
	wantRefusal(t, err, "it was not committed")
	wantIDs(t, direct, "first")
	mustInsert(t, s, "again") // so that the new connection has its prepared statements
	if err := insert(kapitest.Within(t), s, "kept", func() { proxy.Set(badnet.CutAfter) }); err != nil {
		t.Errorf("a commit that the server had received, and whose answer was lost: %v", err)
	}
	wantIDs(t, direct, "first", "again", "kept")
	mustInsert(t, s, "last")
	wantIDs(t, direct, "first", "again", "kept", "last")
}

// TestOutcomeUnknown: ErrOutcomeUnknown is returned when the outcome can't be looked up.
func TestOutcomeUnknown(t *testing.T) {
	s, proxy, database := throughProxy(t)
	mustInsert(t, s, "first")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var began time.Time
	err := insert(ctx, s, "hung", func() {
		began = time.Now()
		time.AfterFunc(time.Second, cancel)
		proxy.Set(badnet.HangAfter)
	})
	if !errors.Is(err, kapi.ErrOutcomeUnknown) || !errors.Is(err, kapi.ErrUnavailable) {
		t.Errorf("a commit whose outcome can't be looked up is answered with %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the answer took %v", took)
	}
	wantIDs(t, openFor(t, server.DSN(database)), "first", "hung")
	proxy.Hang(false)
	mustInsert(t, s, "last")
	wantIDs(t, s, "first", "hung", "last")
}

// TestHang: a call over a hung connection returns when its context ends, and the connection is
// replaced.
func TestHang(t *testing.T) {
	s, proxy, _ := throughProxy(t)
	mustInsert(t, s, "first")
	wantIDs(t, s, "first")
	proxy.Hang(true)
	for range 3 { // both readers, and a new connection
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		_, err := s.Feed(ctx, 0)
		wantRefusal(t, err, "")
		wantRefusal(t, insert(ctx, s, "refused", nil), "")
		cancel()
	}
	proxy.Hang(false)
	wantIDs(t, s, "first")
	mustInsert(t, s, "second")
}

// TestSynchronousStandby: a commit is not acknowledged before the synchronous standby has it, not even if
// an admin cancels the wait, which PostgreSQL answers with success.
func TestSynchronousStandby(t *testing.T) {
	alone := pgtest.For(t, pgtest.Options{Settings: map[string]string{"max_connections": "20"}})
	s := openFor(t, alone.DSN("postgres"))
	mustInsert(t, s, "first")
	alone.Exec(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf()")
	waiting := func() (n int) {
		alone.Query(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", &n)
		return n
	}

	if err := s.Renew(kapitest.Within(t), store.RunnerRecord{ID: "r"}); err != nil {
		t.Errorf("renewing a lease, which waits for no standby: %v", err)
	}
	ids := []string{"first"}
	kapitest.Eventually(t, "a commit waits for the standby", func() bool {
		ctx, cancel := context.WithCancel(kapitest.Within(t))
		defer cancel()
		ids = append(ids, fmt.Sprint("alone", len(ids)))
		err := insert(ctx, s, ids[len(ids)-1], func() { time.AfterFunc(time.Second, cancel) })
		if err != nil && !errors.Is(err, kapi.ErrOutcomeUnknown) {
			t.Errorf("a commit that no standby has is answered with %v", err)
		}
		return err != nil
	})
	if n := waiting(); n != 1 {
		t.Errorf("%d commits wait for the standby, want 1: the one that its caller gave up, but that was not cancelled", n)
	}
	alone.Exec(t, "postgres", "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	kapitest.Eventually(t, "no commit waits", func() bool { return waiting() == 0 })

	answered := make(chan error, 1)
	go func() { answered <- insert(kapitest.Within(t), s, "cancelled", nil) }()
	kapitest.Eventually(t, "the commit waits for the standby", func() bool { return waiting() == 1 })
	alone.Exec(t, "postgres", "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	kapitest.Eventually(t, "the lookup waits for the standby", func() bool { return waiting() == 1 })
	select {
	case err := <-answered:
		t.Errorf("a commit whose wait was cancelled is answered with %v", err)
	default:
	}
	alone.Exec(t, "postgres", "ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()")
	if err := <-answered; err != nil {
		t.Errorf("the commit, after the standby was removed: %v", err)
	}
	wantIDs(t, s, append(ids, "cancelled")...)
}
