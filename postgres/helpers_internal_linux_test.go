package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// deadline limits everything that the tests wait for. It is generous, because no test measures the
// store's speed.
const deadline = time.Minute

// moment limits calls that are expected to be refused, but may try again until then.
const moment = 500 * time.Millisecond

// openAt opens a store that the caller closes.
func openAt(t testing.TB, dsn string, o Options) *Store {
	t.Helper()
	s, err := Open(kapitest.Within(t), dsn, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// newStore creates a store in its own database, and closes it when t ends.
func newStore(t testing.TB) (*Store, string) {
	t.Helper()
	database := server.Database(t)
	return openFor(t, server.DSN(database)), database
}

// openFor opens a store, and closes it when t ends.
func openFor(t testing.TB, dsn string) *Store {
	t.Helper()
	s := openAt(t, dsn, Options{})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// patient lets a store stand still inside a transaction for longer than any test does.
func patient(s *Store) *Store {
	s.standstill = deadline
	return s
}

// insert commits a running action that holds its id as a key. during is called while the transaction decides.
func insert(ctx context.Context, s *Store, id string, during func()) error {
	return s.Commit(ctx, store.Batch{}, func(l store.Loaded) (store.Writes, error) {
		seq := l.Seq + 1
		r := store.Record{
			Action: kapi.Action{Seq: seq, ID: id, Title: "title of " + id, Status: kapi.StatusRunning, Keys: []string{id}},
			Fence:  seq,
		}
		if during != nil {
			during()
		}
		return store.Writes{Head: seq, Insert: []store.Record{r}, Claim: []store.Claim{{Key: id, Action: id}}}, nil
	})
}

func mustInsert(t testing.TB, s *Store, id string) {
	t.Helper()
	if err := insert(kapitest.Within(t), s, id, nil); err != nil {
		t.Fatalf("commit of %s: %v", id, err)
	}
}

// wantIDs checks which actions the store has, in order of seq.
func wantIDs(t testing.TB, s *Store, want ...string) {
	t.Helper()
	page, err := s.Feed(kapitest.Within(t), 0)
	if err != nil {
		t.Fatalf("Feed: %v", err)
	}
	var ids []string
	for _, r := range page.Records {
		ids = append(ids, r.ID)
	}
	if !slices.Equal(ids, want) {
		t.Errorf("the store has %q, want %q", ids, want)
	}
}

// wantRefusal checks that err wraps ErrUnavailable, not ErrOutcomeUnknown, and says why in one line that
// names the store.
func wantRefusal(t testing.TB, err error, why string) {
	t.Helper()
	if err == nil || !errors.Is(err, kapi.ErrUnavailable) || errors.Is(err, kapi.ErrOutcomeUnknown) {
		t.Errorf("the error is %v, want one that wraps ErrUnavailable, and is sure", err)
		return
	}
	if got := err.Error(); !strings.HasPrefix(got, "store postgres://") || !strings.Contains(got, why) || strings.Contains(got, "\n") ||
		strings.Count(got, "store postgres://") != 1 {
		t.Errorf("the error is %q, want it to name the store once, and to say %q in one line", got, why)
	}
}

// query reads one value from a database, as the superuser.
func query[T any](t testing.TB, database, sql string, args ...any) (value T) {
	t.Helper()
	conn, err := pgx.Connect(kapitest.Within(t), server.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(kapitest.Within(t), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// activity counts the store's connections for a purpose (commit, read, ...) for which a condition on
// pg_stat_activity is true.
func activity(t testing.TB, database, role, condition string) int {
	t.Helper()
	return query[int](t, database, `SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'kapi ' || $2 || ' %' AND `+condition, database, role)
}

// terminate ends the store's connections for a purpose, as an admin does.
func terminate(t testing.TB, database, role string) {
	t.Helper()
	n := query[int](t, database, `SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'kapi ' || $2 || ' %'`, database, role)
	if n == 0 {
		t.Errorf("there is no connection to %s", role)
	}
}
