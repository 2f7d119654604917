package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/badnet"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

func record(id string, seq uint64, runner string) store.Record {
	return store.Record{
		Action: kapi.Action{Seq: seq, ID: id, Title: "T", Status: kapi.StatusRunning, Runner: &kapi.Runner{ID: runner}},
		Fence:  seq,
	}
}

// connections counts the connections of stores to a database.
func connections(t *testing.T, database string) int {
	t.Helper()
	return query[int](t, database, `SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'kapi %'`, database)
}

// TestOneConnection: the store of a light peer has one connection, also while it listens. A renewal doesn't wait
// for a commit that waits for the lock, and leaves no second connection behind.
func TestOneConnection(t *testing.T) {
	database := server.Database(t)
	other := patient(openFor(t, server.DSN(database)))
	mustCommitBy(t, other, "first", "other")
	light := openFor(t, server.DSN(database))
	self := store.RunnerRecord{ID: "r"}
	woken, _ := listening(t, light)
	kapitest.Receive(t, woken, "the first wake-up")
	works := func() {
		t.Helper()
		_, err := light.Some(kapitest.Within(t), []string{"first"})
		_, err2 := light.Runners(kapitest.Within(t), []string{"r"})
		if err := errors.Join(err, err2, light.Renew(kapitest.Within(t), self)); err != nil {
			t.Error(err)
		}
	}
	works()
	mustCommitBy(t, light, "own", "r")
	mustCommitBy(t, other, "second", "other")
	kapitest.Receive(t, woken, "a commit")
	if n := connections(t, database); n != 2 {
		t.Errorf("two light peers have %d connections", n)
	}
	waiter := make(chan error, 1)
	err := other.Commit(kapitest.Within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
		go func() {
			waiter <- light.Commit(kapitest.Within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) { return store.Writes{}, nil })
		}()
		kapitest.Eventually(t, "it waits for the lock", func() bool { return activity(t, database, "commit", "wait_event = 'advisory'") == 1 })
		if err := light.Renew(kapitest.Within(t), self); err != nil {
			t.Error(err)
		}
		return store.Writes{}, nil
	})
	if err := errors.Join(err, <-waiter); err != nil {
		t.Error(err)
	}
	kapitest.Eventually(t, "the second connection is closed", func() bool { return connections(t, database) == 2 })
	works()
}

// TestCrowd: where connections are few, light peers let theirs go while they don't need them, and all are served.
func TestCrowd(t *testing.T) {
	const peers, limit = 30, 4
	database := server.Database(t)
	mustCommitBy(t, openFor(t, server.DSN(database)), "first", "other")
	server.Exec(t, "postgres", fmt.Sprintf("CREATE ROLE crowd LOGIN CONNECTION LIMIT %d", limit))
	server.Exec(t, database, "GRANT USAGE ON SCHEMA kapi TO crowd; GRANT ALL ON ALL TABLES IN SCHEMA kapi TO crowd")
	t.Cleanup(func() { server.Exec(t, database, "DROP OWNED BY crowd; DROP ROLE crowd") })
	var all, begun sync.WaitGroup
	begun.Add(peers)
	for i := range peers {
		all.Go(func() {
			s, err := Open(kapitest.Within(t), server.DSN(database)+"&user=crowd", Options{})
			if err != nil {
				begun.Done()
				t.Error(err)
				return
			}
			defer s.Close()
			name := fmt.Sprint("r", i)
			mustCommitBy(t, s, name, name)
			begun.Done()
			begun.Wait() // nobody leaves before all have begun
			if err := s.Renew(kapitest.Within(t), store.RunnerRecord{ID: name}); err != nil {
				t.Error(err)
			}
			if _, err := s.Some(kapitest.Within(t), []string{name}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestWithoutLine: where the processes can't share a file, they wait all the same.
func TestWithoutLine(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", t.TempDir()+"/missing")
	if f, err := openSide("x"); err == nil {
		_ = f.Close()
		t.Skip("this user has a runtime directory")
	}
	database := server.Database(t)
	mustCommitBy(t, openFor(t, server.DSN(database)), "first", "other")
	server.Exec(t, "postgres", "CREATE ROLE lonely LOGIN CONNECTION LIMIT 1")
	server.Exec(t, database, "GRANT USAGE ON SCHEMA kapi TO lonely; GRANT ALL ON ALL TABLES IN SCHEMA kapi TO lonely")
	t.Cleanup(func() { server.Exec(t, database, "DROP OWNED BY lonely; DROP ROLE lonely") })
	dsn := server.DSN(database) + "&user=lonely"
	first := openAt(t, dsn, Options{})
	if !first.Keep("ns") {
		t.Error("it is not its own keeper")
	}
	opened := make(chan error, 1)
	go func() {
		second, err := Open(kapitest.Within(t), dsn, Options{})
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	kapitest.Eventually(t, "a refusal", func() bool { return isRefused(t, dsn) })
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := kapitest.Receive(t, opened, "a connection"); err != nil {
		t.Error(err)
	}
}

func isRefused(t *testing.T, dsn string) bool {
	ctx, cancel := context.WithTimeout(kapitest.Within(t), moment)
	defer cancel()
	s, err := Open(ctx, dsn, Options{})
	if err == nil {
		_ = s.Close()
	}
	return err != nil
}

func TestIsCrowded(t *testing.T) {
	says := func(code, message string) error {
		return fmt.Errorf("server error: %w", &pgconn.PgError{Code: code, Message: message})
	}
	for _, c := range []struct {
		err           error
		full, crowded bool
	}{
		{nil, false, false},
		{says("53300", "sorry, too many clients already"), true, true},
		{says("08P01", "no more connections allowed (max_client_conn)"), true, true}, // PgBouncer
		{says("08006", ""), false, false},
		{errors.Join(errors.New("server refused TLS connection"), says("53300", "")), true, true},
		{errors.Join(says("28P01", ""), says("53300", "")), false, false},
		{fmt.Errorf("failed to receive message: %w", context.DeadlineExceeded), false, true},
		{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, false, true},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EAGAIN)}, false, true}, // a full backlog
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, false, false},
		{errors.Join(says("28P01", ""), context.DeadlineExceeded), false, false},
		{errors.Join(says("53300", ""), says("28P01", ""), context.DeadlineExceeded), false, false},
		{errors.Join(syscall.ECONNREFUSED, context.DeadlineExceeded), false, true},
	} {
		if full, crowded := isFull(c.err), isCrowded(c.err); full != c.full || crowded != c.crowded {
			t.Errorf("%v: isFull is %v, isCrowded %v", c.err, full, crowded)
		}
	}
}

// TestGoesOn: whoever waits for an attempt to connect knows that it goes on, whatever the server said.
func TestGoesOn(t *testing.T) {
	s := &Store{name: "s"}
	for _, err := range []error{&pgconn.PgError{Code: "53300"}, &pgconn.PgError{Code: "08P01"}, context.DeadlineExceeded} {
		for _, waits := range []bool{false, true} {
			failed := err
			if waits {
				failed = &waitingError{err}
			}
			var unreached *unreachedError
			if got := s.unreached(t.Context(), failed); !errors.As(got, &unreached) || unreached.waiting != waits || !isCrowded(got) {
				t.Errorf("%v (%t): got %#v", err, waits, got)
			}
		}
	}
}

// TestRefusedTLS: a store whose server has refused TLS doesn't ask for it with each further connection.
func TestRefusedTLS(t *testing.T) {
	proxy := badnet.New(t, server.Address(), 0)
	database := server.Database(t)
	s := openFor(t, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=prefer", proxy.Address(), database))
	if n := proxy.Connections(); n != 2 {
		t.Errorf("the first connection took %d attempts", n)
	}
	for range 3 {
		terminate(t, database, "commit")
		mustCommitBy(t, s, fmt.Sprint("a", proxy.Connections()), "r")
	}
	if n := proxy.Connections(); n != 5 {
		t.Errorf("three further connections took %d attempts", n-2)
	}
}

// TestLetGo: while nobody waits, a light peer keeps its connection.
func TestLetGo(t *testing.T) {
	database := server.Database(t)
	s := openFor(t, server.DSN(database))
	mustCommitBy(t, s, "a", "r")
	time.Sleep(2 * letGoAfter)
	if n := connections(t, database); n != 1 {
		t.Errorf("it has %d connections", n)
	}
	p := s.at.line.enter()
	defer p.leave()
	if _, err := s.Some(kapitest.Within(t), nil); err != nil {
		t.Error(err)
	}
	kapitest.Eventually(t, "it lets its connection go", func() bool { return connections(t, database) == 0 })
	mustCommitBy(t, s, "b", "r")
}

// TestLine: a line is served in order, also after somebody has left it, and who sees it stand still tries all the same.
func TestLine(t *testing.T) {
	l := newLine([]string{t.Name()})
	defer l.close()
	if l.exists() {
		t.Error("there is a line before anybody waits")
	}
	first, second, third := l.enter(), l.enter(), l.enter()
	defer third.leave()
	moves := 0
	moved := func() { moves++ }
	if first.await(kapitest.Within(t), moved); first.head != 0 || moves != 0 {
		t.Error("the first is not at the head")
	}
	if second.await(kapitest.Within(t), moved); second.head == 0 || moves != 1 {
		t.Errorf("before the first left, the second is at the head; the line moved %d times", moves)
	}
	second.leave()
	go first.leave()
	if third.await(kapitest.Within(t), moved); third.head != 0 {
		t.Error("the last one is not at the head")
	}
	if !l.exists() {
		t.Error("there is no line")
	}
}
