// Package postgres keeps kapi's actions in a PostgreSQL database (14 or later), which processes
// of any number of machines may have open at once.
//
// [Open] opens the store, and makes its tables in a schema of their own. What it returns goes to
// peer.Open, and is an auth.Tokens besides.
//
// A commit is on the server's disk, and on its synchronous standby's if it has one, before
// anybody is told of it: synchronous_commit is raised to "on" where a role or a database has it
// lower. One whose answer got lost is looked up. docs/postgres.md tells what rights are needed,
// how to go through PgBouncer, and what a failover may lose.
//
// A store has up to five connections: for commits, two for reading, for renewing its lease, and
// to listen. Each is made when it is first needed.
//
// Errors of reading and writing wrap kapi.ErrUnavailable and name host and database, never the
// password.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/store"
)

const (
	// readers is how many connections read at once.
	readers = 2
	// defaultStandstill is Store.standstill, but for tests.
	defaultStandstill = 3 * time.Second
)

// Options are for Open. The zero value is right for most.
type Options struct {
	// Schema is where the tables are; "" is kapi. Stores in different schemas have nothing to do
	// with each other.
	Schema string
	// ListenDSN is the database once more, for the connection that listens: behind a PgBouncer
	// that pools transactions, LISTEN hears nothing. "" is the DSN.
	ListenDSN string
}

// A Store is a PostgreSQL database. It is a peer.Store and an auth.Tokens; its methods may be
// called concurrently.
type Store struct {
	name   string
	schema string
	sql    statements
	// id tells this store's transactions from everybody else's, and count numbers them. Who has
	// the writer's link has count.
	id    string
	count int64

	// standstill is how long a process may stand still (SIGSTOP) inside a transaction before
	// PostgreSQL ends that, and the others go on.
	standstill time.Duration

	writer, reader, renewer pool
	gate                    gate // of all three
	listen                  *pgx.ConnConfig
	version                 int          // of the schema, that this build knows
	least                   atomic.Int64 // the version that the schema wants of whoever writes in it, as was last seen
	deaf                    atomic.Bool  // Listen has said that it hears nothing
	// speaks is the server's process that commits for this store, whose notifications are no news.
	// A pooler tells of a process that isn't there; then they are taken for somebody else's.
	speaks atomic.Uint32

	served sync.WaitGroup // connections that are being let go
	closed chan struct{}
	close  func() // once
}

var (
	_ store.Store = (*Store)(nil)
	_ auth.Tokens = (*Store)(nil)
)

// Open opens the store that the DSN names, as in postgres://USER@HOST:PORT/DATABASE, and makes
// it if it isn't there. What the DSN doesn't say comes from the usual variables (PGPASSWORD) and
// files (~/.pgpass). It may name several hosts; of those the one that can be written to is used.
// While the server can't be reached, or starts, Open tries again until ctx ends, for 30 s at most if
// it doesn't. The error says what is wrong: not reachable, no rights, too old, from a newer kapi; it is a
// *kapi.InvalidError for a DSN or a schema that can't be.
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	config, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	s := &Store{name: nameOf(config), schema: o.Schema, listen: config, id: newID(), standstill: defaultStandstill, closed: make(chan struct{})}
	if s.schema == "" {
		s.schema = "kapi"
	}
	if err := checkSchema(s.schema); err != nil {
		return nil, err
	}
	if o.ListenDSN != "" {
		if s.listen, err = parse(o.ListenDSN); err != nil {
			return nil, fmt.Errorf("to listen: %w", err)
		}
	}
	steps, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	s.version = len(steps)
	s.sql = newStatements(s.schema)
	s.close = sync.OnceFunc(func() { close(s.closed) })
	s.writer = s.newPool(config, "commit", 1)
	s.reader = s.newPool(config, "read", readers)
	s.renewer = s.newPool(config, "renew", 1)
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) newPool(config *pgx.ConnConfig, role string, n int) pool {
	// A pooler may pass on what another client of its has listened for: nobody here would read it.
	config = config.Copy()
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
	p := make(pool, n)
	for range n {
		p <- s.newLink(config, &s.gate, role)
	}
	return p
}

// String names the database, without a password.
func (s *Store) String() string { return s.name }

// Close closes the store, after what goes on in it. Calls after the first do nothing.
func (s *Store) Close() error {
	for _, p := range []pool{s.writer, s.reader, s.renewer} {
		for range cap(p) {
			select {
			case l := <-p:
				l.end()
			case <-s.closed:
			}
		}
	}
	s.close()
	s.served.Wait()
	return nil
}

// Quiesce calls f while no write transaction of this process is open, and lets none begin before
// f returns. A process that is about to stop itself (Ctrl-Z) does so in f: stopped inside a
// write, it would lock everybody else out until its connection is cut.
func (s *Store) Quiesce(f func()) {
	select {
	case l := <-s.writer:
		defer func() { s.writer <- l }()
	case <-s.closed:
	}
	f()
}

var errClosed = fmt.Errorf("%w: it is closed", kapi.ErrUnavailable)

// fail names the store in an error, and says what PostgreSQL's code means.
func (s *Store) fail(err error) error {
	err = explain(err)
	var named *namedError
	if err == nil || errors.Is(err, store.ErrBehind) || errors.Is(err, store.ErrKeyTaken) || errors.As(err, &named) {
		return err
	}
	return &namedError{s.name, err}
}

// A namedError names the store.
type namedError struct {
	store string
	err   error
}

func (e *namedError) Error() string { return "store " + e.store + ": " + e.err.Error() }

func (e *namedError) Unwrap() error { return e.err }

func newID() string { return strings.ToLower(rand.Text()) }
