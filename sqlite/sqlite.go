// Package sqlite keeps kapi's actions in a SQLite file, which several processes of one
// machine may have open at once.
//
// [Open] opens or makes the file; [OpenMemory] is for tests of programs that embed
// kapi. What either returns goes to peer.Open, and is an auth.Tokens besides.
//
// The file is in WAL mode with synchronous=FULL: a commit is on disk (one fsync) before
// it is visible to anybody. Beside PATH lie SQLite's PATH-wal and PATH-shm, and
// PATH-wake, which every process touches after a commit and watches for the others', and (on Linux)
// PATH-runners, in which each process that runs actions says that it is alive. The
// file is made with mode 0600, on Linux for the owner of its folder if root makes it; those beside it have
// its owner (if root makes them), group and mode.
// A network file system is refused, because neither SQLite's locks nor
// the wake-ups can be relied on there, and so is a file that has two names, or is mounted by
// itself: each name would have a log of its own.
//
// A store whose file is removed or replaced while it is open goes on in the file that is at its
// path then, under a new epoch, and makes one as soon as there is something to write.
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
	// openTimeout is how long Open, and reading, wait for other processes that hold the file.
	openTimeout = 5 * time.Second
	// readers is how many connections read at once.
	readers = 2
)

// Options are for OpenWith. The zero value is right for most.
type Options struct {
	// Warn is told what an admin may want to know: that others may read the file, that it was removed.
	// It must not call the store. Nil logs a warning with slog.Default().
	Warn func(text string)
}

// A Store is a SQLite file, or a database in memory. It is a peer.Store and an
// auth.Tokens; its methods may be called concurrently.
type Store struct {
	path   string // "" in memory
	name   string // the path as it was given, absolute: a link may come to name another file
	warn   func(string)
	closed chan struct{}
	// watchAfter is the constant, but for tests.
	watchAfter time.Duration
	close      func() error // once

	keeping sync.Mutex
	keeper  *keep.Keeper // nil before the first call of Keep

	roster roster

	// opening is held by whoever puts another file into the place of one that is gone.
	opening chan struct{}
	mu      sync.Mutex
	file    *file // nil while there is none at the path
	gone    *file // the one before, until it is closed
	known   mark  // the last that is known of those before
	lost    bool  // that there is none was said
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Glancer = (*Store)(nil)
	_ store.Keeper  = (*Store)(nil)
	_ store.Roster  = (*Store)(nil)
	_ auth.Tokens   = (*Store)(nil)
)

// Open opens the store at path, and makes it (mode 0600) if it isn't there. Its folder
// must exist. The error says what is wrong with the file: not SQLite, of another program,
// from a newer kapi, read-only, on a network file system, locked, under two names, or on a full disk.
func Open(path string) (*Store, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	return OpenContext(ctx, path)
}

// OpenContext is Open, and waits until ctx ends for other processes that hold the file. Open waits
// for 5 seconds.
func OpenContext(ctx context.Context, path string) (*Store, error) {
	return OpenWith(ctx, path, Options{})
}

// OpenWith is OpenContext, with options.
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
	if s.file, err = openFile(ctx, s.path, mark{}); err != nil {
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
		s.opening <- struct{}{} // for good
		ctx := context.Background()
		defer s.roster.close()
		return errors.Join(s.gone.close(ctx), s.now().close(ctx))
	})
	return s
}

// OpenMemory makes a store in memory, for tests: it is gone when it is closed, and only
// the process that made it sees it.
func OpenMemory() (*Store, error) {
	c, err := sqlite.OpenConn(":memory:", sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, fmt.Errorf("store in memory: %w", err)
	}
	s := newStore()
	s.file = newFile("", 1)
	s.file.opened = []*sqlite.Conn{c}
	if err := s.file.prepare(context.Background(), c); err != nil {
		return nil, errors.Join(fmt.Errorf("store in memory: %w", err), c.Close())
	}
	// One connection serves readers and writers: in memory there is nothing to gain
	// from more.
	s.file.reader = s.file.writer
	s.file.writer <- c
	return s, nil
}

// Path returns the file's absolute path, "" for a store in memory.
func (s *Store) Path() string { return s.path }

// Glance implements store.Glancer. A process that is short-lived never calls it.
func (s *Store) Glance() (store.Mark, bool) {
	if f := s.now(); f != nil {
		return f.glance()
	}
	return store.Mark{}, false
}

// Close closes the store, after what goes on in it. Calls after the first do nothing.
func (s *Store) Close() error { return s.close() }

// Quiesce calls f while no write transaction of this process is open or waits for its turn, and lets none
// begin before f returns. A process that is about to stop itself (Ctrl-Z) does so in f:
// stopped inside a write, it would lock everybody else out, and stopped in the queue, hold them up.
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
		<-now.shut // ends after the last writing, that of closing
	}
	f()
}
