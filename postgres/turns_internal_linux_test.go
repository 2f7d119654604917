package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/badnet"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// TestTurns: a call that waits longer than its time limit is not refused as long as others have their turns.
func TestTurns(t *testing.T) {
	const limit = 4 * nextTurn
	database := server.Database(t)
	proxy := badnet.New(t, server.Address(), 0)
	s := openFor(t, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", proxy.Address(), database))
	mustCommitBy(t, s, "first", "r")
	other := openFor(t, server.DSN(database))
	wantIDs(t, other, "first")
	holder, err := pgx.Connect(kapitest.Within(t), server.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = holder.Close(context.Background()) })
	lock := func(f string) {
		if _, err := holder.Exec(kapitest.Within(t), fmt.Sprintf("SELECT pg_advisory_%s($1)", f), s.sql.lock); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(ctx context.Context) error {
		return s.Commit(ctx, store.Batch{Light: true}, func(store.Loaded) (store.Writes, error) { return store.Writes{}, nil })
	}
	read := func(ctx context.Context) error {
		_, err := s.Feed(ctx, 0)
		return err
	}
	for _, c := range []struct {
		name        string
		call        func(context.Context) error
		block, free func()
		others      func() // another one has its turn
		refused     bool
	}{
		{"a commit while nobody else commits", commit, func() { lock("lock") }, func() { lock("unlock") }, func() {}, true},
		{"a commit while others commit", commit, func() { lock("lock") }, func() { lock("unlock") }, other.side.noteTurn, false},
		{"a connection while nobody gets one", read, func() { s.cut(); proxy.Hang(true) }, func() { proxy.Hang(false) }, func() {}, true},
		{"a connection while others get one", read, func() { s.cut(); proxy.Hang(true) }, func() { proxy.Hang(false) }, func() { s.at.line.noteTurn() }, false},
	} {
		c.block()
		ctx, cancel := store.WithPatience(kapitest.Within(t), limit)
		ended := make(chan error, 1)
		go func() { ended <- c.call(ctx) }()
		err := errors.New("it has not ended")
		for wait := time.Now(); err != nil && time.Since(wait) < 3*limit; {
			c.others()
			select {
			case err = <-ended:
				wait = time.Time{}
			case <-time.After(nextTurn / 4):
			}
		}
		if refused := errors.Is(err, kapi.ErrUnavailable); refused != c.refused {
			t.Errorf("%s: %v", c.name, err)
		}
		c.free()
		if !c.refused && !errors.Is(err, kapi.ErrUnavailable) {
			if err := kapitest.Receive(t, ended, "its end"); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		cancel(nil)
	}
}

// TestTurnsAreNoted: others see each commit and each connection of a process, but not its renewals, which say nothing about
// those who wait.
func TestTurnsAreNoted(t *testing.T) {
	s, database := newStore(t)
	other := openFor(t, server.DSN(database))
	read := func() {
		if _, err := s.Feed(kapitest.Within(t), 0); err != nil {
			t.Error(err)
		}
	}
	turns := func() (side, line uint64) { return other.side.turn(), other.at.line.turn() }
	for _, c := range []struct {
		name          string
		f             func()
		commit, makes bool
	}{
		{"a commit", func() { mustCommitBy(t, s, newID(), "r") }, true, false},
		{"a renewal", func() { _ = s.Renew(kapitest.Within(t), store.RunnerRecord{ID: "r"}) }, false, false},
		{"a read", read, false, false},
		{"a connection", func() { s.cut(); read() }, false, true},
	} {
		c.f() // whatever connections it needs
		side, line := turns()
		c.f()
		if nowSide, nowLine := turns(); (nowSide != side) != c.commit || (nowLine != line) != c.makes {
			t.Errorf("%s: the store's number went from %d to %d, the line's from %d to %d", c.name, side, nowSide, line, nowLine)
		}
	}
}

// TestLimits: the server waits for the lock for at least as long as the call may.
func TestLimits(t *testing.T) {
	s := &Store{}
	for _, c := range []struct {
		name        string
		limit       time.Duration
		patient     bool
		least, most time.Duration
	}{
		{"none", 0, false, patience, patience},
		{"short", time.Second, false, time.Second, 2 * time.Second},
		{"patient", time.Second, true, patience, patience},
		{"patient and long", 2 * patience, true, 2 * patience, 2*patience + time.Second},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		switch {
		case c.patient:
			var end context.CancelCauseFunc
			ctx, end = store.WithPatience(ctx, c.limit)
			defer end(nil)
		case c.limit > 0:
			var end context.CancelFunc
			ctx, end = context.WithTimeout(ctx, c.limit)
			defer end()
		}
		ms, err := strconv.Atoi(s.limits(ctx)[1].(string))
		if got := time.Duration(ms) * time.Millisecond; err != nil || got < c.least || got > c.most {
			t.Errorf("%s: it waits %v (%v)", c.name, got, err)
		}
		cancel()
	}
}

// cut closes the store's connections.
func (s *Store) cut() {
	for _, p := range []pool{s.writer, s.readers[0], s.readers[1]} {
		l := <-p
		l.end()
		p <- l
	}
}
