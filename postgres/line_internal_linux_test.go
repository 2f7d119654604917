package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/badnet"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/keep"
	"github.com/kettubot/kapi/internal/store"
)

// TestRemovedLine: after the file of a line was removed, processes that had it open see those who wait in the new one.
func TestRemovedLine(t *testing.T) {
	l := newLine([]string{t.Name()})
	defer l.close()
	if l.exists() {
		t.Error("there is a line before anybody waits")
	}
	if err := os.Remove(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "kapi", l.name)); err != nil {
		t.Fatal(err)
	}
	p := l.enter()
	defer p.leave()
	if !l.exists() {
		t.Error("the line is not seen")
	}
}

// TestRenewalGivenUp: a second connection that comes too late for its renewal doesn't stay.
func TestRenewalGivenUp(t *testing.T) {
	database := server.Database(t)
	proxy := badnet.New(t, server.Address(), 0)
	other := patient(openFor(t, server.DSN(database)))
	mustCommitBy(t, other, "first", "other")
	s := openFor(t, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", proxy.Address(), database))
	waiter := make(chan error, 1)
	err := other.Commit(kapitest.Within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
		go func() {
			waiter <- s.Commit(kapitest.Within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) { return store.Writes{}, nil })
		}()
		kapitest.Eventually(t, "it waits for the lock", func() bool { return activity(t, database, "commit", "wait_event = 'advisory'") == 1 })
		proxy.Hang(true)
		defer proxy.Hang(false)
		ctx, cancel := context.WithTimeout(kapitest.Within(t), aside+moment)
		defer cancel()
		if err := s.Renew(ctx, store.RunnerRecord{ID: "r"}); err == nil {
			t.Error("it is renewed")
		}
		return store.Writes{}, nil
	})
	if err := errors.Join(err, <-waiter); err != nil {
		t.Error(err)
	}
	l := <-s.renewer
	if l.coming != nil || l.conn != nil {
		t.Error("the second connection is still expected")
	}
	s.renewer <- l
}

// TestPatience: who is next in a line that doesn't move tries all the same after two seconds or so, and those behind later.
// Those behind also look more rarely.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		ticket, head   int64
		patience, look time.Duration // on average
	}{
		{5, -1, outOfLine, nextLook},
		{6, 5, outOfLine * 33 / 32, 35 * time.Millisecond},
		{5 + spread, 5, 2 * outOfLine, 345 * time.Millisecond},
		{1, tickets - 1, outOfLine * 34 / 32, 45 * time.Millisecond}, // the counter has started over
	} {
		p := &spot{ticket: c.ticket, head: c.head}
		for range 100 {
			if patience, look := p.patience(), p.pause(); patience < c.patience/2 || patience > c.patience*3/2 || look < c.look/2 || look > c.look*3/2 {
				t.Errorf("%d behind %d waits %v, and looks again after %v", c.ticket, c.head, patience, look)
			}
		}
	}
}

// TestBusyServer: a read tries again after an attempt to connect that the server was too busy to answer in time. Meanwhile
// it waits in line, in one place.
func TestBusyServer(t *testing.T) {
	database := server.Database(t)
	proxy := badnet.New(t, server.Address(), 0)
	s := openFor(t, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&connect_timeout=1", proxy.Address(), database))
	for _, inLine := range []bool{false, true} {
		var before, after *spot
		if inLine {
			if before = s.at.line.enter(); before == nil {
				t.Fatal("there is no line")
			}
		}
		s.cut()
		proxy.Hang(true)
		made, tickets := proxy.Connections(), ticketsOf(t, s.at.line)
		read := make(chan error, 1)
		go func() {
			_, err := s.Feed(kapitest.Within(t), 0)
			read <- err
		}()
		if inLine {
			kapitest.Eventually(t, "it waits in line", func() bool { return ticketsOf(t, s.at.line) == tickets+1 })
			after = s.at.line.enter()
			before.leave()
		}
		kapitest.Eventually(t, "the second attempt to connect", func() bool { return proxy.Connections() >= made+2 })
		proxy.Hang(false)
		if err := kapitest.Receive(t, read, "the end of the read"); err != nil {
			t.Error(err)
		}
		if n := ticketsOf(t, s.at.line) - tickets; n != map[bool]uint64{false: 1, true: 2}[inLine] { // after has the second
			t.Errorf("%d tickets were taken (%t)", n, inLine)
		}
		after.leave()
	}
}

// ticketsOf returns how many tickets were taken in a line.
func ticketsOf(t *testing.T, l *line) uint64 {
	t.Helper()
	f, err := openSide(l.name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var count [8]byte
	if _, err := f.ReadAt(count[:], 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint64(count[:])
}

// TestTight: while most of the server's connections are in use, a light peer lets its own go, also one that listens.
func TestTight(t *testing.T) {
	database := server.Database(t)
	s := openFor(t, server.DSN(database))
	mustCommitBy(t, s, "a", "r")
	woken, _ := listening(t, s)
	kapitest.Receive(t, woken, "the first wake-up")
	others := make([]*pgx.Conn, 45)
	for i := range others {
		conn, err := pgx.Connect(kapitest.Within(t), server.DSN("postgres"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		others[i] = conn
	}
	if err := s.Renew(kapitest.Within(t), store.RunnerRecord{ID: "r"}); err != nil {
		t.Error(err)
	}
	kapitest.Eventually(t, "it lets its connection go", func() bool { return connections(t, database) == 0 })
	for _, conn := range others {
		_ = conn.Close(context.Background())
	}
	kapitest.Eventually(t, "it keeps its connection again", func() bool {
		mustRenew(t, s)
		time.Sleep(2 * keptWhileTight)
		return connections(t, database) == 1
	})
}

func mustRenew(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Renew(kapitest.Within(t), store.RunnerRecord{ID: "r"}); err != nil {
		t.Error(err)
	}
}

// TestInUse: a light peer lets its connection go while others wait, although it uses it all the time.
func TestInUse(t *testing.T) {
	s, _ := newStore(t)
	mustCommitBy(t, s, "a", "r")
	p := s.at.line.enter()
	defer p.leave()
	kapitest.Eventually(t, "it lets its connection go", func() bool {
		if _, err := s.Some(kapitest.Within(t), nil); err != nil {
			t.Error(err)
		}
		l := <-s.writer
		defer func() { s.writer <- l }()
		return l.conn == nil
	})
}

// TestNoOvertaking: while others wait for a connection, a newcomer waits behind them, even if there is one.
func TestNoOvertaking(t *testing.T) {
	s, database := newStore(t)
	p := s.at.line.enter()
	opened := make(chan error, 1)
	go func() {
		second, err := Open(kapitest.Within(t), server.DSN(database), Options{})
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	kapitest.Eventually(t, "it waits in line", func() bool {
		next, err := keep.Held(p.file, firstTicket, tickets)
		if err != nil {
			t.Error(err)
		}
		return next > 0
	})
	p.leave()
	if err := kapitest.Receive(t, opened, "a connection"); err != nil {
		t.Error(err)
	}
}

// TestLineMoves: the time that a call has starts over whenever the line moves.
func TestLineMoves(t *testing.T) {
	const length, limit = 6, 3 * time.Second
	database := server.Database(t)
	mustCommitBy(t, openFor(t, server.DSN(database)), "first", "other")
	server.Exec(t, "postgres", "CREATE ROLE single LOGIN CONNECTION LIMIT 1")
	server.Exec(t, database, "GRANT USAGE ON SCHEMA kapi TO single; GRANT ALL ON ALL TABLES IN SCHEMA kapi TO single")
	t.Cleanup(func() { server.Exec(t, database, "DROP OWNED BY single; DROP ROLE single") })
	dsn := server.DSN(database) + "&user=single"
	s := openAt(t, dsn, Options{})
	var before []*spot
	for range length {
		before = append(before, s.at.line.enter())
	}
	patient, cancel := store.WithPatience(kapitest.Within(t), limit)
	defer cancel(nil)
	opened := make(chan error, 1)
	go func() {
		second, err := Open(patient, dsn, Options{})
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	kapitest.Eventually(t, "it waits in line", func() bool {
		next, err := keep.Held(before[length-1].file, firstTicket+before[length-1].ticket, tickets-before[length-1].ticket)
		if err != nil {
			t.Error(err)
		}
		return next > 0
	})
	for _, p := range before {
		time.Sleep(limit / 4)
		p.leave()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := kapitest.Receive(t, opened, "a connection"); err != nil {
		t.Error(err)
	}
}

// TestNarrow: a peer that was a full one for a while has one connection again.
func TestNarrow(t *testing.T) {
	s, database := newStore(t)
	mustCommitBy(t, s, "a", "r")
	wantIDs(t, s, "a")
	if n := connections(t, database); n != 2 {
		t.Errorf("a full peer has %d connections", n)
	}
	mustCommitBy(t, s, "b", "r")
	kapitest.Eventually(t, "it has one connection", func() bool { return connections(t, database) == 1 })
}
