package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/storetest"
	"github.com/kettubot/kapi/peer"
)

func TestWrongDSN(t *testing.T) {
	for dsn, why := range map[string]string{
		"postgres://u:hunter2@h:x/db":                                               "DSN must be postgres://",
		"postgres://u:hun%ter2@h/db":                                                "DSN must be postgres://",
		"postgres://u:hunter2@127.0.0.1:1/db":                                       "store postgres://127.0.0.1:1/db: store not available: 127.0.0.1:1 (127.0.0.1): dial error: dial tcp 127.0.0.1:1: connect: connection refused",
		"postgres://u:hunter2@127.0.0.1:1,[::1]:2/":                                 "store postgres://127.0.0.1:1,[::1]:2/",
		strings.Replace(server.DSN("none"), "postgres@", "postgres:hunter2@", 1):    "there is no such database",
		strings.Replace(server.DSN("postgres"), "postgres@", "nobody:hunter2@", 1):  "it refuses the user or the password",
		server.DSN("postgres") + "&password=x&hunter2=y":                            "it rejects the DSN",
		server.DSN("postgres") + "&target_session_attrs=standby":                    "server is not in hot standby mode",
		server.DSN("postgres") + "&options=-c%20default_transaction_read_only%3Don": "it can't be written to: it is a standby",
	} {
		ctx, cancel := context.WithTimeout(kapitest.Within(t), moment)
		_, err := Open(ctx, dsn, Options{})
		cancel()
		if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error is %v, want one line that says %q, without the password", dsn, err, why)
		}
	}
	for _, schema := range []string{"pg_kapi", strings.Repeat("x", 64), "a\x00b", "\xff"} {
		var invalid *kapi.InvalidError
		if _, err := Open(kapitest.Within(t), server.DSN("postgres"), Options{Schema: schema}); !errors.As(err, &invalid) {
			t.Errorf("schema %q: %v", schema, err)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		version  int
		encoding string
		why      string
	}{
		{140000, "UTF8", ""},
		{180002, "UTF8", ""},
		{130022, "UTF8", "it is PostgreSQL 13, kapi needs 14 or later"},
		{90624, "UTF8", "it is PostgreSQL 9"},
		{150000, "SQL_ASCII", "encoding is SQL_ASCII"},
	} {
		err := checkVersion(c.version, c.encoding)
		if (err == nil) != (c.why == "") || err != nil && (!errors.Is(err, kapi.ErrUnavailable) || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%d, %s: %v, want %q", c.version, c.encoding, err, c.why)
		}
	}
	name := "ascii" + server.Database(t)
	server.Exec(t, "postgres", "CREATE DATABASE "+name+" ENCODING SQL_ASCII TEMPLATE template0")
	t.Cleanup(func() { server.Exec(t, "postgres", "DROP DATABASE "+name) })
	_, err := Open(kapitest.Within(t), server.DSN(name), Options{})
	wantRefusal(t, err, "the database's encoding is SQL_ASCII, kapi needs UTF8")
}

// TestForeignSchema: a schema that is not kapi's, is incomplete or is from a newer kapi is refused and not changed.
func TestForeignSchema(t *testing.T) {
	steps, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ damage, why string }{
		"another program's": {"DROP SCHEMA kapi CASCADE; CREATE SCHEMA kapi; CREATE TABLE kapi.orders (id int)", "the schema kapi has tables, but not kapi's table of its version"},
		"newer":             {"UPDATE kapi.version SET version = 99; UPDATE kapi.head SET min_report = 99", fmt.Sprintf("it is from a newer kapi (schema 99, this one knows %d)", len(steps))},
		"without version":   {"DROP TABLE kapi.version", "restored in part"},
		"empty version":     {"DELETE FROM kapi.version", "restored in part"},
		"without a table":   {"DROP TABLE kapi.writers, kapi.keys", "lacks tables (keys, writers)"},
		"without a head":    {"DELETE FROM kapi.head", "kapi's table head is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			s, database := newStore(t)
			mustInsert(t, s, "a")
			server.Exec(t, database, c.damage)
			for range 2 {
				_, err := Open(kapitest.Within(t), server.DSN(database), Options{})
				wantRefusal(t, err, c.why)
			}
		})
	}
	// An empty schema, as the owner of the database may create it for kapi, is accepted.
	database := server.Database(t)
	server.Exec(t, database, "CREATE SCHEMA kapi")
	mustInsert(t, openFor(t, server.DSN(database)), "a")
}

// TestWithoutSecret: reading a store without its secret is refused.
func TestWithoutSecret(t *testing.T) {
	s, database := newStore(t)
	server.Exec(t, database, "DELETE FROM kapi.secrets")
	_, err := s.Snapshot(kapitest.Within(t))
	wantRefusal(t, err, "kapi's table secrets is empty")
}

// TestOlderSchema: the store of an older kapi is migrated to this version, and keeps its data.
func TestOlderSchema(t *testing.T) {
	dump, err := os.ReadFile("testdata/schema1.sql")
	if err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]string{
		"version 1": "",
		"between versions": `ALTER TABLE kapi.head ADD COLUMN min_report integer NOT NULL DEFAULT 1, ADD COLUMN min_start integer NOT NULL DEFAULT 1;
			ALTER TABLE kapi.runners ADD COLUMN work text NOT NULL DEFAULT ''`,
	} {
		t.Run(name, func(t *testing.T) {
			database := server.Database(t)
			server.Exec(t, database, string(dump)+more)
			s := openFor(t, server.DSN(database))
			snapshot, err := s.Snapshot(kapitest.Within(t))
			if err != nil {
				t.Fatal(err)
			}
			// The cluster is not the one of the dump.
			if snapshot.Epoch == "c5df6h472pkmfqujrbbo2bit3o" || snapshot.Seq != 3+store.Ahead {
				t.Errorf("the head is %v, want a new epoch ahead of seq 3", snapshot.Head)
			}
			titles := map[string]kapi.Status{}
			var runners []string
			for _, r := range snapshot.Records {
				titles[r.Title] = r.Status
				runners = append(runners, r.Runner.ID)
			}
			if len(titles) != 2 || titles["Backup"] != kapi.StatusRunning || titles["Import"] != kapi.StatusFailed {
				t.Errorf("it has %v", titles)
			}
			if known, err := s.Runners(kapitest.Within(t), runners); err != nil || len(known) != 2 || known[0].Work != "" {
				t.Errorf("its runners: %v (error: %v)", known, err)
			}
			if tokens, err := s.Tokens(kapitest.Within(t)); err != nil || len(tokens) != 1 || tokens[0].Session {
				t.Errorf("its tokens: %v (error: %v)", tokens, err)
			}
			mustInsert(t, s, "a")
		})
	}
}

// TestQueueOfOlderSchema: a migration puts those who wait already into the queue, where a light peer finds them.
func TestQueueOfOlderSchema(t *testing.T) {
	s, database := newStore(t)
	waiter := store.Record{
		Action: kapi.Action{Seq: 1, ID: "w", Title: "T", Status: kapi.StatusPending, Runner: &kapi.Runner{ID: "r"}},
		Fence:  1, Ticket: 1, Waits: []string{"key"},
	}
	err := s.Commit(kapitest.Within(t), store.Batch{Light: true}, func(store.Loaded) (store.Writes, error) {
		return store.Writes{Head: 1, Insert: []store.Record{waiter}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Exec(t, database, `DROP TABLE kapi.queue, kapi.saved, kapi.marks, kapi.operations, kapi.offers;
		ALTER TABLE kapi.actions DROP COLUMN defined; ALTER TABLE kapi.head DROP COLUMN floor; UPDATE kapi.version SET version = 5`)
	migrated := openFor(t, server.DSN(database))
	err = migrated.Commit(kapitest.Within(t), store.Batch{Light: true, Keys: []string{"key"}}, func(l store.Loaded) (store.Writes, error) {
		if len(l.Found) != 1 || l.Found[0].ID != "w" {
			t.Errorf("those who wait are %+v", l.Found)
		}
		return store.Writes{}, nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFloor: a purge notes up to where no ended action is left.
func TestFloor(t *testing.T) {
	s, database := newStore(t)
	mustInsert(t, s, "a")
	err := s.Commit(kapitest.Within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
		ended := record("b", l.Seq+1, "r")
		ended.Status = kapi.StatusCompleted
		return store.Writes{Head: ended.Seq, Insert: []store.Record{ended}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Purge(kapitest.Within(t), store.Retention{Before: 1 << 60, Future: 1 << 60, Limit: 10})
	if floor := query[int](t, database, "SELECT floor FROM kapi.head"); n != 1 || err != nil || floor != 2 {
		t.Errorf("Purge deletes %d (error: %v), and the floor is %d", n, err, floor)
	}
}

// TestNewerWhileOpen: if a newer kapi migrates the schema while this one has it open, the schema says what this one
// may still do.
func TestNewerWhileOpen(t *testing.T) {
	database := server.Database(t)
	open := func() (store.Store, error) {
		s, err := Open(kapitest.Within(t), server.DSN(database), Options{})
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	steps, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	storetest.Versions(t, open, func(minReport, minStart int) {
		t.Helper()
		n := len(steps)
		server.Exec(t, database, fmt.Sprintf("UPDATE kapi.version SET version = %d; UPDATE kapi.head SET min_report = %d, min_start = %d", n+1, n+minReport, n+minStart))
	})
}

// TestNewerStartTx: in such a schema StartTx is refused like any start.
func TestNewerStartTx(t *testing.T) {
	s, database := newStore(t)
	k, err := peer.Open(kapitest.Within(t), s, peer.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	server.Exec(t, database, "UPDATE kapi.head SET min_start = 99")
	conn, err := pgx.Connect(kapitest.Within(t), server.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	err = pgx.BeginFunc(kapitest.Within(t), conn, func(tx pgx.Tx) error {
		_, err := StartTx(kapitest.Within(t), tx, k, kapi.Spec{Title: "refused", Keys: []string{"k"}}, func(context.Context, kapi.Handle) error {
			t.Error("it was run")
			return nil
		})
		if !errors.Is(err, kapi.ErrUnavailable) || !strings.Contains(err.Error(), "starts nothing more") {
			t.Errorf("StartTx: %v", err)
		}
		_, err = tx.Exec(kapitest.Within(t), "SELECT 1") // the transaction can still be used
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTenAtOnce: ten stores that are opened at once in an empty database share one history.
func TestTenAtOnce(t *testing.T) {
	dsn := server.DSN(server.Database(t))
	var all sync.WaitGroup
	var mu sync.Mutex
	epochs := map[string]int{}
	for range 10 {
		all.Go(func() {
			s, err := Open(kapitest.Within(t), dsn, Options{})
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			defer s.Close()
			snapshot, err := s.Snapshot(kapitest.Within(t))
			if err != nil {
				t.Errorf("Snapshot: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			epochs[snapshot.Epoch+string(snapshot.Secret)]++
		})
	}
	all.Wait()
	if len(epochs) != 1 {
		t.Errorf("they found %d epochs and secrets: %v", len(epochs), epochs)
	}
}

// TestRights: the rights that docs/postgres.md names are enough, and an error says when they are missing.
func TestRights(t *testing.T) {
	database := server.Database(t)
	server.Exec(t, "postgres", "DROP ROLE IF EXISTS app; CREATE ROLE app LOGIN")
	app := server.DSN(database) + "&user=app"
	_, err := Open(kapitest.Within(t), app, Options{})
	wantRefusal(t, err, "the user lacks the rights that kapi needs")

	// The user may create the schema, or the owner of the database has created it for the user.
	server.Exec(t, database, "CREATE SCHEMA mine AUTHORIZATION app")
	own := openAt(t, app, Options{Schema: "mine"})
	mustInsert(t, own, "a")
	if err := own.Close(); err != nil {
		t.Error(err)
	}

	// Another user has created the tables.
	mustInsert(t, openFor(t, server.DSN(database)), "a")
	_, err = Open(kapitest.Within(t), app, Options{})
	wantRefusal(t, err, "the user lacks the rights that kapi needs")
	server.Exec(t, database, documentedGrants(t))
	s := openFor(t, app)
	mustInsert(t, s, "b")
	wantIDs(t, s, "a", "b")
	mustWork(t, s)
	if _, err := s.Purge(kapitest.Within(t), store.Retention{Before: 1 << 60, Future: 1 << 60, Limit: 10}); err != nil {
		t.Errorf("Purge: %v", err)
	}
	server.Exec(t, database, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
	other := openFor(t, app)
	l := <-other.writer
	if l.cluster != "" || !l.direct {
		t.Errorf("the cluster is %q, and that there is no pooler is %v", l.cluster, l.direct)
	}
	other.writer <- l
	wantIDs(t, other, "a", "b")
	server.Exec(t, database, "REVOKE INSERT ON kapi.actions FROM app")
	wantRefusal(t, insert(kapitest.Within(t), s, "c", nil), "the user lacks the rights that kapi needs")
	wantIDs(t, s, "a", "b")
}

// documentedGrants returns the statements of docs/postgres.md that grant the rights that kapi needs.
func documentedGrants(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/postgres.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```sql\nGRANT")
	statements, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/postgres.md has no grants")
	}
	return "GRANT" + statements
}

// mustWork calls what a light peer and a keeper need besides what mustInsert does.
func mustWork(t *testing.T, s *Store) {
	t.Helper()
	err := s.Commit(kapitest.Within(t), store.Batch{Light: true, Keys: []string{"a"}}, func(l store.Loaded) (store.Writes, error) {
		if l.Held["a"] != "a" {
			t.Errorf("the keys are held by %v", l.Held)
		}
		return store.Writes{}, nil
	})
	err2 := s.Renew(kapitest.Within(t), store.RunnerRecord{ID: "r"})
	err3 := s.Observe(kapitest.Within(t), []store.Observation{{Runner: "r", Clock: "c"}})
	_, err4 := s.Observed(kapitest.Within(t), "c", []string{"r"})
	if err := errors.Join(err, err2, err3, err4); err != nil {
		t.Error(err)
	}
}
