// Package sqlite keeps kapi's actions in a SQLite file, which several processes of one
// machine may have open at once.
//
// [Open] opens the file, or creates it; [OpenMemory] is for tests of programs that embed
// kapi. Pass the [Store] that either returns to peer.Open; it also implements auth.Tokens.
//
// The file is in WAL mode with synchronous=FULL: a commit is on disk (one fsync) before
// it is visible to anybody. There are up to four files beside PATH. PATH-wal and PATH-shm are
// SQLite's. Every process touches PATH-wake after a commit, and watches it for the commits of
// others. In PATH-runners (on Linux) each process that runs actions writes that it is alive.
//
// The file is created with mode 0600. On Linux, if root creates it, it belongs to the owner of its
// folder. The files beside it have its group and mode, and its owner if root creates them.
//
// Open refuses a file on a network file system, because neither SQLite's locks nor the wake-ups
// can be relied on there. It also refuses a file that has two names or is mounted by itself,
// because each name would have its own log.
//
// If the file is removed or replaced while a store is open, the store continues under a new epoch
// with the file that is at the path then. If there is none, the next write creates one.
//
// Errors of reading and writing wrap kapi.ErrUnavailable and name the file.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/keep"
	"github.com/kettubot/kapi/internal/store"
)

const (
	// openTimeout is how long Open, and a read, wait for other processes' locks on the file.
	openTimeout = 5 * time.Second
	// readers is the default of Options.Readers.
	readers = 2
)

// Options are for OpenWith. The zero value suits most programs.
type Options struct {
	// Warn is called with what an admin should know, for example that other users may read the file, or
	// that it was removed. It may be called concurrently and must not call the store. If it is nil, the
	// text is logged with slog.Default() as a warning.
	Warn func(text string)
	// Readers is the number of connections for reading, and so of reads at a time. 0 is 2. For a process that
	// reads seldom 1 is enough, which saves time and memory.
	Readers int
	// Cache is how much memory each connection may take for its page cache, in KiB. 0 is SQLite's default, 2,000, which
	// suits a process that writes large batches.
	Cache int
}

// A size is what a store takes of the options that are about memory.
type size struct{ readers, cache int }

// A Store is a SQLite file, or a database in memory. It is a peer.Store and an
// auth.Tokens; its methods may be called concurrently.
type Store struct {
	path   string // "" in memory
	name   string // the path that was given, made absolute; its links may lead to another file later
	warn   func(string)
	size   size
	closed chan struct{}
	// watchAfter is the constant of that name, except in tests.
	watchAfter time.Duration
	close      func() error // acts once

	keeping sync.Mutex
	keeper  *keep.Keeper // nil before the first call of Keep

	roster roster

	// opening is held by the call that replaces a file that is no longer at the path. It guards gone, known
	// and lost.
	opening chan struct{}
	mu      sync.Mutex // guards file
	file    *file      // nil while there is none at the path
	gone    *file      // the previous file
	known   mark       // the latest mark of all previous files
	lost    bool       // the warning that there is no file was given
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Glancer = (*Store)(nil)
	_ store.Keeper  = (*Store)(nil)
	_ store.Monitor = (*Store)(nil)
	_ store.Roster  = (*Store)(nil)
	_ auth.Tokens   = (*Store)(nil)
)

// Open opens the store at path, and creates it (mode 0600) if it doesn't exist. Its folder must exist.
// Open waits up to 5 seconds for other processes' locks. The error wraps kapi.ErrUnavailable and says
// what is wrong, for example that the file is not a SQLite database, belongs to another program, is from
// a newer kapi, is read-only, locked, on a network file system or a full disk, or has two names.
func Open(path string) (*Store, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	return OpenContext(ctx, path)
}

// OpenContext is Open, but waits for other processes' locks until ctx ends.
func OpenContext(ctx context.Context, path string) (*Store, error) {
	return OpenWith(ctx, path, Options{})
}

// OpenWith is OpenContext with options.
func OpenWith(ctx context.Context, path string, o Options) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w: %w", path, kapi.ErrUnavailable, err)
	}
	s := newStore()
	s.name = path
	if s.path, err = resolve(path); err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	if s.warn = o.Warn; s.warn == nil {
		s.warn = func(text string) { slog.Default().Warn(text) }
	}
	if s.size = (size{o.Readers, o.Cache}); s.size.readers <= 0 {
		s.size.readers = readers
	}
	if s.file, err = openFile(ctx, s.path, s.size, mark{}); err != nil {
		return nil, fmt.Errorf("store %s: %w", path, lockedBy(s.path, err))
	}
	if how := s.file.facts.exposed(); how != "" {
		s.warn(fmt.Sprintf("others may %s the store %s (mode %04o), with its secrets: chmod o= %s", how, path, s.file.facts.mode, path))
	}
	return s, nil
}

func newStore() *Store {
	s := &Store{closed: make(chan struct{}), watchAfter: watchAfter, opening: make(chan struct{}, 1)}
	s.close = sync.OnceValue(func() error {
		close(s.closed)
		s.opening <- struct{}{} // never released
		ctx := context.Background()
		defer s.roster.close()
		return errors.Join(s.gone.close(ctx), s.now().close(ctx))
	})
	return s
}

// OpenMemory makes a store in memory, for tests. Its content is lost when it is closed, and no other process
// can see it.
func OpenMemory() (*Store, error) {
	c, err := sqlite.OpenConn(":memory:", sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, fmt.Errorf("store in memory: %w", err)
	}
	s := newStore()
	s.file = newFile("", size{readers: 1})
	s.file.opened = []*sqlite.Conn{c}
	if err := s.file.prepare(context.Background(), c); err != nil {
		return nil, errors.Join(fmt.Errorf("store in memory: %w", err), c.Close())
	}
	// One connection both reads and writes: each connection would have a database of its own.
	s.file.reader = s.file.writer
	s.file.writer <- c
	return s, nil
}

// Path returns the file's absolute path with links resolved, "" for a store in memory.
func (s *Store) Path() string { return s.path }

// Glance implements store.Glancer. The first call maps the index, so short-lived processes never call it.
func (s *Store) Glance() (store.Mark, bool) {
	if f := s.now(); f != nil {
		return f.glance()
	}
	return store.Mark{}, false
}

// Close waits for calls in progress and closes the store. Later calls return the same error again.
func (s *Store) Close() error { return s.close() }

// Quiesce calls f while no write transaction of this store is open or waits for its turn, and none can
// begin until f returns. A process that is about to stop itself (Ctrl-Z) does so in f. Stopped inside a
// write transaction, it would lock all others out; stopped in the queue, it would delay them.
func (s *Store) Quiesce(f func()) {
	now := s.now()
	if now == nil {
		f()
		return
	}
	select {
	case c := <-now.writer:
		defer func() { now.writer <- c }()
		now.wake.turns().clear()
	case <-now.shutting:
		<-now.shut // closing writes, too
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if s.keeper != nil {
		s.keeper.Yield()
	}
	f()
}
