package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// TestTerminated: an admin ends the connection, in each phase of a transaction.
func TestTerminated(t *testing.T) {
	s, database := newStore(t)
	mustInsert(t, s, "first")
	wantIDs(t, s, "first")
	if err := s.Renew(kapitest.Within(t), store.RunnerRecord{ID: "r"}); err != nil {
		t.Fatal(err)
	}

	// While the connection is idle: nobody notices.
	terminate(t, database, "commit")
	mustInsert(t, s, "second")
	terminate(t, database, "read")
	wantIDs(t, s, "first", "second")
	terminate(t, database, "read")
	if err := s.Renew(kapitest.Within(t), store.RunnerRecord{ID: "r"}); err != nil {
		t.Errorf("Renew after its connection was ended: %v", err)
	}

	// While the transaction decides: nothing is committed.
	patient(s)
	err := insert(kapitest.Within(t), s, "refused", func() { terminate(t, database, "commit") })
	wantRefusal(t, err, "it was not committed")
	wantIDs(t, s, "first", "second")
	mustInsert(t, s, "third")

	far, _, database2 := throughProxy(t) // over TCP the server's last error arrives
	err = insert(kapitest.Within(t), patient(far), "refused", func() { terminate(t, database2, "commit") })
	wantRefusal(t, err, "it was not committed")

	// While the transaction waits for the lock: it waits again.
	other := patient(openFor(t, server.DSN(database)))
	waiter := make(chan error, 1)
	err = insert(kapitest.Within(t), other, "fourth", func() {
		go func() { waiter <- insert(kapitest.Within(t), s, "fifth", nil) }()
		kapitest.Eventually(t, "the other waits", func() bool { return activity(t, database, "commit", "wait_event = 'advisory'") == 1 })
		if n := query[int](t, database, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'advisory'`); n != 1 {
			t.Errorf("%d wait", n)
		}
	})
	if err := errors.Join(err, <-waiter); err != nil {
		t.Error(err)
	}
	wantIDs(t, s, "first", "second", "third", "fourth", "fifth")
}

// TestSettings: settings of a role or a database don't weaken kapi's promises.
func TestSettings(t *testing.T) {
	database := server.Database(t)
	for _, setting := range []string{
		"synchronous_commit = off", "client_min_messages = error", "statement_timeout = 100", "lock_timeout = 100",
		"idle_in_transaction_session_timeout = 0", "default_transaction_isolation = serializable",
		"standard_conforming_strings = off", "search_path = nowhere", "DateStyle = German", "bytea_output = escape",
		"default_transaction_deferrable = on",
	} {
		server.Exec(t, "postgres", fmt.Sprintf("ALTER DATABASE %s SET %s", database, setting))
	}
	s := openFor(t, server.DSN(database))
	got := map[string]string{}
	for weak, want := range map[string]string{"off": "on", "local": "on", "remote_write": "on", "on": "on", "remote_apply": "remote_apply"} {
		_, err := s.write(kapitest.Within(t), job{
			read: func(l *link, b *pgx.Batch) {
				for _, name := range []string{"synchronous_commit", "client_min_messages", "idle_in_transaction_session_timeout", "transaction_isolation"} {
					b.Queue("SELECT current_setting($1)", name).QueryRow(func(row pgx.Row) error {
						value := ""
						err := row.Scan(&value)
						got[name] = value
						return err
					})
				}
			},
			write: func(*pgx.Batch) (bool, error) { return false, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		if weak == "off" && (got["synchronous_commit"] != want || got["client_min_messages"] != "warning" ||
			got["idle_in_transaction_session_timeout"] != "3s" || got["transaction_isolation"] != "read committed") {
			t.Errorf("in a transaction the settings are %v", got)
		}
		if weak != "off" {
			again := openFor(t, server.DSN(database)+"&synchronous_commit="+weak)
			value := ""
			_, err := again.write(kapitest.Within(t), job{
				read: func(l *link, b *pgx.Batch) {
					b.Queue("SHOW synchronous_commit").QueryRow(func(row pgx.Row) error { return row.Scan(&value) })
				},
				write: func(*pgx.Batch) (bool, error) { return false, nil },
			})
			if err != nil || value != want {
				t.Errorf("synchronous_commit of %s becomes %s, want %s (%v)", weak, value, want, err)
			}
		}
	}
	// A statement timeout of the role doesn't limit the wait for the lock.
	other := openFor(t, server.DSN(database))
	waiter := make(chan error, 1)
	err := insert(kapitest.Within(t), patient(s), "first", func() {
		go func() { waiter <- insert(kapitest.Within(t), other, "second", nil) }()
		kapitest.Eventually(t, "the other waits for longer than the timeouts", func() bool {
			return activity(t, database, "commit", "wait_event = 'advisory' AND query_start < now() - interval '300 ms'") == 1
		})
	})
	if err := errors.Join(err, <-waiter); err != nil {
		t.Error(err)
	}
	wantIDs(t, s, "first", "second")
}

// TestOutOfConnections: the error says that the server has no connections left, and a store that has a
// connection still works. Whoever needs one waits for it.
func TestOutOfConnections(t *testing.T) {
	s, database := newStore(t)
	mustInsert(t, s, "first")
	server.Exec(t, "postgres", "DROP ROLE IF EXISTS few; CREATE ROLE few LOGIN SUPERUSER CONNECTION LIMIT 2; ALTER ROLE few NOSUPERUSER")
	server.Exec(t, database, "GRANT USAGE ON SCHEMA kapi TO few; GRANT ALL ON ALL TABLES IN SCHEMA kapi TO few")
	dsn := server.DSN(database) + "&user=few"
	few := openAt(t, dsn, Options{})
	mustInsert(t, few, "second")
	wantIDs(t, few, "first", "second") // on a second connection, as for a full peer
	if err := few.Renew(kapitest.Within(t), store.RunnerRecord{ID: "r"}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(kapitest.Within(t), moment)
	defer cancel()
	_, err := Open(ctx, dsn, Options{})
	wantRefusal(t, err, "it has no connections left")
	mustInsert(t, few, "third")
	opened := make(chan error, 1)
	go func() {
		other, err := Open(kapitest.Within(t), dsn, Options{})
		if err == nil {
			err = other.Close()
		}
		opened <- err
	}()
	kapitest.Eventually(t, "the other waits in line", few.at.line.exists)
	if err := few.Close(); err != nil {
		t.Error(err)
	}
	if err := kapitest.Receive(t, opened, "a connection for it"); err != nil {
		t.Error(err)
	}
	wantIDs(t, s, "first", "second", "third")
}

// TestSlowStatement: a read that takes too long returns an error, and its connection is used again
// or replaced.
func TestSlowStatement(t *testing.T) {
	s, database := newStore(t)
	mustInsert(t, s, "first")
	conn, err := pgx.Connect(kapitest.Within(t), server.DSN(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(kapitest.Within(t), "BEGIN; LOCK TABLE kapi.actions", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err = s.Feed(ctx, 0)
	wantRefusal(t, err, "")
	wantRefusal(t, insert(ctx, s, "refused", nil), "")
	if _, err := conn.Exec(kapitest.Within(t), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, s, "first")
	mustInsert(t, s, "second")
}
