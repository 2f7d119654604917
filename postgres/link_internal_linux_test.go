package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi/internal/badnet"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/internal/store"
)

// TestConnectingGoesOn: if connecting takes longer than each caller waits, the callers share one attempt.
// If each attempt ended with its caller, a server that is slow because all clients reconnect at once would
// never let one in.
func TestConnectingGoesOn(t *testing.T) {
	s, proxy, _ := throughProxy(t)
	self := store.RunnerRecord{ID: "self", Host: "here", Lease: time.Second}
	s.widen(true)
	for _, p := range []pool{s.writer, s.readers[0], s.readers[1]} {
		defer func(l *link) { s.put(l) }(<-p)
	}
	proxy.Hang(true)
	before := proxy.Connections()
	for range 5 {
		ctx, cancel := context.WithTimeout(kapitest.Within(t), 50*time.Millisecond)
		wantRefusal(t, s.Renew(ctx, self), "")
		cancel()
	}
	proxy.Hang(false)
	if err := s.Renew(kapitest.Within(t), self); err != nil {
		t.Fatal(err)
	}
	if n := proxy.Connections() - before; n != 1 {
		t.Errorf("six callers, one after the other, made %d connections", n)
	}
}

// TestSpared: there are few attempts to connect to a server that is down, and the store finds it when it is back.
func TestSpared(t *testing.T) {
	alone := pgtest.For(t, pgtest.Options{TCP: true})
	proxy := badnet.New(t, alone.Address(), 0)
	s := openFor(t, fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", proxy.Address()))
	alone.Halt()
	before, began := proxy.Connections(), time.Now()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for time.Since(began) < time.Second {
				_, err := s.Feed(kapitest.Within(t), 0)
				wantRefusal(t, err, "")
			}
		})
	}
	all.Wait()
	// The shortest pause is half of firstPause, and both readers may begin before the first attempt fails.
	most := int(time.Since(began)/(firstPause/2)) + len(s.readers)
	if n := proxy.Connections() - before; n < 2 || n > most {
		t.Errorf("%d attempts to connect, want 2 to %d", n, most)
	}
	if err := alone.Start(); err != nil {
		t.Fatal(err)
	}
	kapitest.Eventually(t, "the store can be read again", func() bool {
		_, err := s.Feed(kapitest.Within(t), 0)
		return err == nil
	})
}

// TestHungHost: after a host that accepts connections and never answers, the next host is tried in time, whatever
// connect_timeout is.
func TestHungHost(t *testing.T) {
	hung := badnet.New(t, server.Address(), 0)
	hung.Hang(true)
	database := server.Database(t)
	for _, timeout := range []string{"", "&connect_timeout=6"} {
		s := openFor(t, fmt.Sprintf("postgres://postgres@%s,%s/%s?sslmode=disable%s", hung.Address(), server.Address(), database, timeout))
		wantIDs(t, s)
	}
}

// TestForeignNotifications: notifications on a connection that doesn't listen, as from a pooler, are dropped.
func TestForeignNotifications(t *testing.T) {
	s, database := newStore(t)
	err := s.use(kapitest.Within(t), s.toRenew, func(l *link) error {
		if _, err := l.conn.Exec(kapitest.Within(t), "LISTEN foreign_channel"); err != nil {
			return err
		}
		server.Exec(t, database, "NOTIFY foreign_channel")
		if err := l.conn.Ping(kapitest.Within(t)); err != nil {
			return err
		}
		done, cancel := context.WithCancel(kapitest.Within(t))
		cancel()
		if n, err := l.conn.WaitForNotification(done); err == nil {
			t.Errorf("a notification was kept: %+v", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestNotCancelledThroughPooler: no cancel request is sent through a pooler, as one may end PgBouncer.
func TestNotCancelledThroughPooler(t *testing.T) {
	database := server.Database(t)
	for _, c := range []struct {
		name, address string
		requests      int
	}{
		{"through PgBouncer", server.Bouncer(t, 2), 0},
		{"directly", server.Address(), 1},
	} {
		proxy := badnet.New(t, c.address, 0)
		s := openFor(t, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&default_query_exec_mode=exec", proxy.Address(), database))
		wantIDs(t, s)
		ctx, cancel := context.WithCancel(kapitest.Within(t))
		ended := make(chan error, 1)
		go func() {
			ended <- s.use(ctx, s.toWrite, func(l *link) error {
				_, err := l.conn.Exec(ctx, "SELECT pg_sleep(60)")
				return err
			})
		}()
		kapitest.Eventually(t, "it sleeps", func() bool {
			return query[int](t, database, "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'") == 1
		})
		before := proxy.Connections()
		cancel()
		if err := kapitest.Receive(t, ended, "its end"); err == nil {
			t.Errorf("%s: it has slept", c.name)
		}
		if err := s.Close(); err != nil { // it waits for the request
			t.Error(err)
		}
		if n := proxy.Connections() - before; n != c.requests {
			t.Errorf("%s: %d requests, want %d", c.name, n, c.requests)
		}
		server.Exec(t, database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")
	}
}

// TestNotCancelled: an attempt to connect that is given up sends no cancel request, for which Close would not wait.
func TestNotCancelled(t *testing.T) {
	s, proxy, database := throughProxy(t)
	mustCommitBy(t, s, "a", "r")
	terminate(t, database, "commit")
	s.at.config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		return conn.Exec(ctx, "SELECT pg_sleep(60)").Close()
	}
	ctx, cancel := context.WithCancel(kapitest.Within(t))
	defer cancel()
	asked := make(chan error, 1)
	go func() {
		_, err := s.Some(ctx, nil)
		asked <- err
	}()
	kapitest.Eventually(t, "it connects", func() bool { return activity(t, database, "commit", "query LIKE '%sleep%'") == 1 })
	cancel()
	wantRefusal(t, kapitest.Receive(t, asked, "its answer"), "")
	before := proxy.Connections()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	time.Sleep(moment) // a request would be on its way now
	if n := proxy.Connections(); n != before {
		t.Errorf("it made %d more connections", n-before)
	}
}
