// Package postgres keeps kapi's actions in a PostgreSQL database (14 or later). Processes on any number of
// machines may have the same store open.
//
// [Open] opens a store, and creates its tables in a schema of their own. Pass the [Store] to peer.Open. It
// is also an auth.Tokens.
//
// A commit is acknowledged once it is on the server's disk, and on that of its synchronous standby if it
// has one: kapi raises synchronous_commit to "on" where a role or a database sets it lower. If the
// connection breaks during a commit, kapi looks up its outcome. docs/postgres.md explains the rights that
// kapi needs, the use of PgBouncer, and what a failover may lose.
//
// A store has up to five connections: one for commits, two for reads, one for renewing leases, and one to
// listen. That of a peer which only starts actions and reports on them has one, and while connections are few it closes
// that when it doesn't need it. Each is made when it is first needed.
//
// Errors of reads and writes wrap kapi.ErrUnavailable and name the host and the database, never the
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

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/store"
)

// defaultStandstill is Store.standstill, except in tests.
const defaultStandstill = 3 * time.Second

// Options are for Open. The zero value is right for most programs.
type Options struct {
	// Schema is the schema of the tables; "" is kapi. Stores in different schemas are independent of
	// each other.
	Schema string
	// ListenDSN names the same database for the connection that listens; "" is the DSN itself. It is
	// needed if the DSN names a PgBouncer in transaction mode, through which notifications don't arrive.
	ListenDSN string
}

// A Store is a store in a PostgreSQL database. It is a peer.Store and an auth.Tokens. Its methods may be
// called concurrently.
type Store struct {
	name   string
	schema string
	sql    statements
	// id identifies this store's transactions in the table writers, and count numbers them. count is
	// guarded by the writer's link.
	id    string
	count int64

	// standstill is how long this process may stand still (SIGSTOP) inside a transaction before
	// PostgreSQL ends the transaction, so that it doesn't block others.
	standstill time.Duration

	writer, renewer pool
	readers         [2]pool
	gate            gate // of all of them
	// at is where the database is, ear where notifications come from, usually the same.
	at, ear *target
	wide    atomic.Bool // the peer is a full one
	leaving atomic.Bool // letGoUnused is under way
	closing atomic.Bool
	hearing atomic.Bool // the writer's connection may listen
	// disturb asks a listener for the writer. It holds one.
	disturb chan struct{}
	side    side
	ringer  ringer
	// listeners counts the peer's calls of Listen. hears is set while notifications arrive, missed if some may not
	// have arrived.
	listeners     atomic.Int32
	hears, missed atomic.Bool
	ears          chan struct{} // held by who listens

	version int          // of the schema that this build knows
	least   atomic.Int64 // the least version that may write in the schema, as last read
	deaf    atomic.Bool  // Listen has returned that it can't listen
	// speaks is the pid of the server's process that last committed for this store. Its notifications
	// are ignored. Behind a pooler the pid is wrong; then they are taken for another store's.
	speaks atomic.Uint32

	served sync.WaitGroup // goroutines that Close waits for
	closed chan struct{}
	close  func() // once
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Keeper = (*Store)(nil)
	_ store.Bell   = (*Store)(nil)
	_ auth.Tokens  = (*Store)(nil)
)

// Open opens the store that the DSN names, as in postgres://USER@HOST:PORT/DATABASE, and creates its
// tables if they don't exist. Settings that the DSN lacks come from the usual variables (PGPASSWORD) and
// files (~/.pgpass). The DSN may name several hosts; Open uses the one that can be written to. While the
// server can't be reached or is starting, Open tries again until ctx ends, or for 30 s if ctx has no
// deadline. The error is a *kapi.InvalidError for an invalid DSN or schema. Otherwise it wraps
// kapi.ErrUnavailable and says what is wrong: not reachable, no rights, too old, from a newer kapi.
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	config, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	s := &Store{name: nameOf(config), schema: o.Schema, id: newID(), standstill: defaultStandstill, closed: make(chan struct{}), disturb: make(chan struct{}, 1), ears: make(chan struct{}, 1)}
	if s.schema == "" {
		s.schema = "kapi"
	}
	if err := checkSchema(s.schema); err != nil {
		return nil, err
	}
	s.at = newTarget(config)
	if s.ear = s.at; o.ListenDSN != "" {
		config, err := parse(o.ListenDSN)
		if err != nil {
			return nil, fmt.Errorf("to listen: %w", err)
		}
		s.ear = newTarget(config)
	}
	steps, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	s.version = len(steps)
	s.sql = newStatements(s.schema)
	s.close = sync.OnceFunc(func() { close(s.closed) })
	s.writer = s.newPool("commit")
	s.readers = [2]pool{s.newPool("read"), s.newPool("read")}
	s.renewer = s.newPool("renew")
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) newPool(role string) pool {
	l := s.newLink(s.at, &s.gate, role)
	l.home = make(pool, 1)
	l.home <- l
	return l.home
}

// String names the database, without a password.
func (s *Store) String() string { return s.name }

// Close waits for the calls in progress and closes the store. Later calls do nothing.
func (s *Store) Close() error {
	s.closing.Store(true)
	s.disturbListener()
	for _, p := range []pool{s.writer, s.readers[0], s.readers[1], s.renewer} {
		select {
		case l := <-p:
			l.end()
		case <-s.closed:
		}
	}
	s.close()
	s.served.Wait()
	s.side.end()
	s.at.line.close()
	s.ear.line.close()
	return nil
}

// Quiesce calls f while this store has no write transaction open, and lets none begin before f
// returns. A process that is about to stop itself (Ctrl-Z) does so in f: if it were stopped inside
// a write transaction, it would block all others until the server ends that.
func (s *Store) Quiesce(f func()) {
	if l, err := s.toWrite(context.Background()); err == nil {
		defer func() { s.writer <- l }()
	}
	s.side.yield()
	f()
}

var errClosed = fmt.Errorf("%w: it is closed", kapi.ErrUnavailable)

// fail adds the store's name to an error, and the meaning of PostgreSQL's error code.
func (s *Store) fail(err error) error {
	err = explain(err)
	var named *namedError
	if err == nil || errors.Is(err, store.ErrBehind) || errors.Is(err, store.ErrKeyTaken) || errors.As(err, &named) {
		return err
	}
	return &namedError{s.name, err}
}

// A namedError is an error with the store's name.
type namedError struct {
	store string
	err   error
}

func (e *namedError) Error() string { return "store " + e.store + ": " + e.err.Error() }

func (e *namedError) Unwrap() error { return e.err }

func newID() string { return strings.ToLower(rand.Text()) }
