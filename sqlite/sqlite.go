// Package sqlite keeps kapi's actions in a SQLite file, which several processes of one
// machine may have open at once.
//
// [Open] opens or makes the file; [OpenMemory] is for tests of programs that embed
// kapi. What either returns goes to kapi.Open, and is an auth.Tokens besides.
//
// The file is in WAL mode with synchronous=FULL: a commit is on disk (one fsync) before
// it is visible to anybody. Beside PATH lie SQLite's PATH-wal and PATH-shm, and
// PATH-wake, which every process touches after a commit and watches for the others'. All
// have mode 0600. A network file system is refused, because neither SQLite's locks nor
// the wake-ups can be relied on there.
//
// Errors of reading and writing wrap kapi.ErrUnavailable and name the file.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

const (
	// openTimeout is how long Open, and reading, wait for other processes that hold the file.
	openTimeout = 5 * time.Second
	// readers is how many connections read at once.
	readers = 2
)

// A Store is a SQLite file, or a database in memory. It is a kapi.Store and an
// auth.Tokens; its methods may be called concurrently.
type Store struct {
	path   string // "" in memory
	writer chan *sqlite.Conn
	reader chan *sqlite.Conn
	wake   *wakeFile // nil in memory
	closed chan struct{}
	// watchAfter is the constant, but for tests.
	watchAfter time.Duration
	close      func() error // once

	findIndex sync.Once
	index     index
}

var (
	_ kapi.Store   = (*Store)(nil)
	_ kapi.Glancer = (*Store)(nil)
	_ auth.Tokens  = (*Store)(nil)
)

// Open opens the store at path, and makes it (mode 0600) if it isn't there. Its folder
// must exist. The error says what is wrong with the file: not SQLite, of another program,
// from a newer kapi, read-only, on a network file system, locked, or on a full disk.
func Open(path string) (*Store, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	return OpenContext(ctx, path)
}

// OpenContext is Open, and waits until ctx ends for other processes that hold the file. Open waits
// for 5 seconds.
func OpenContext(ctx context.Context, path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w: %w", path, kapi.ErrUnavailable, err)
	}
	name := path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		name = real // else two names of one file would have two wake files
	}
	s, err := open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string) (_ *Store, err error) {
	file, err := prepareFile(path, networkFileSystem)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path: path, closed: make(chan struct{}), watchAfter: watchAfter,
		writer: make(chan *sqlite.Conn, 1), reader: make(chan *sqlite.Conn, readers),
	}
	var opened []*sqlite.Conn
	s.close = sync.OnceValue(func() error {
		close(s.closed)
		var errs []error
		for _, c := range opened {
			errs = append(errs, c.Close())
		}
		if s.wake != nil {
			errs = append(errs, s.wake.Close())
		}
		s.findIndex.Do(func() {})
		s.index.unmap()
		return errors.Join(errs...)
	})
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	if err := recognise(ctx, path); err != nil {
		return nil, err
	}
	writer, err := openConn(ctx, path)
	if err != nil {
		return nil, err
	}
	opened = append(opened, writer)
	if s.wake, err = openWake(path + "-wake"); err != nil {
		return nil, err
	}
	if err := prepare(ctx, writer, file, s.wake); err != nil {
		return nil, err
	}
	s.writer <- writer
	for range readers {
		c, err := openConn(ctx, path)
		if err != nil {
			return nil, err
		}
		c.SetBusyTimeout(openTimeout)
		opened = append(opened, c)
		s.reader <- c
	}
	return s, nil
}

// OpenMemory makes a store in memory, for tests: it is gone when it is closed, and only
// the process that made it sees it.
func OpenMemory() (*Store, error) {
	c, err := sqlite.OpenConn(":memory:", sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return nil, fmt.Errorf("store in memory: %w", err)
	}
	if err := prepare(context.Background(), c, 0, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("store in memory: %w", err), c.Close())
	}
	// One connection serves readers and writers: in memory there is nothing to gain
	// from more.
	conns := make(chan *sqlite.Conn, 1)
	conns <- c
	s := &Store{writer: conns, reader: conns, closed: make(chan struct{})}
	s.close = sync.OnceValue(func() error {
		close(s.closed)
		return c.Close()
	})
	return s, nil
}

// Path returns the file's absolute path, "" for a store in memory.
func (s *Store) Path() string { return s.path }

// Glance implements kapi.Glancer. A process that is short-lived never calls it.
func (s *Store) Glance() (kapi.Mark, bool) {
	s.findIndex.Do(func() {
		if s.path != "" {
			s.index = mapIndex(s.path)
		}
	})
	return s.index.mark()
}

// Close closes the store, after what goes on in it. Calls after the first do nothing.
func (s *Store) Close() error {
	select {
	case <-s.writer:
	case <-s.closed:
		return s.close()
	}
	if s.path != "" {
		for range readers {
			<-s.reader
		}
	}
	return s.close()
}

// Quiesce calls f while no write transaction of this process is open, and lets none
// begin before f returns. A process that is about to stop itself (Ctrl-Z) does so in f:
// stopped inside a write, it would lock everybody else out.
func (s *Store) Quiesce(f func()) {
	select {
	case c := <-s.writer:
		defer func() { s.writer <- c }()
	case <-s.closed:
		_ = s.close() // ends after the last writing, that of closing
	}
	f()
}

// prepareFile makes the file with its mode if it isn't there, and returns its identity.
//
// It never opens a file that is there: closing it again would take away the locks that
// other connections of this process have on it (fcntl(2)), and with them everybody's
// protection from a process that believes to be the last and deletes the WAL.
func prepareFile(path string, network func(folder string) string) (identity int64, err error) {
	if kind := network(filepath.Dir(path)); kind != "" {
		return 0, fmt.Errorf("%w: it is on a network file system (%s), where SQLite's locks can't be relied on", kapi.ErrUnavailable, kind)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeFile(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return 0, fmt.Errorf("%w: can't be made: %w", kapi.ErrUnavailable, bare(err))
		}
		info, err = os.Stat(path)
		if target, notLink := os.Readlink(path); err != nil && notLink == nil {
			return 0, fmt.Errorf("%w: is a symbolic link to %s, which isn't there", kapi.ErrUnavailable, target)
		}
	}
	if err == nil && !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%w: is not a regular file", kapi.ErrUnavailable)
	}
	if err == nil {
		err = checkAccess(path)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: can't be opened for writing: %w", kapi.ErrUnavailable, bare(err))
	}
	if err := checkFolder(filepath.Dir(path)); err != nil { // SQLite would only say that it can't open
		return 0, fmt.Errorf("%w: its folder can't be written to: %w", kapi.ErrUnavailable, err)
	}
	return identityOf(path), nil
}

// bare takes the path off an error that will name it.
func bare(err error) error {
	var named *fs.PathError
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

// errClosed is what a store answers once Close was called.
var errClosed = fmt.Errorf("%w: it is closed", kapi.ErrUnavailable)

// borrow takes a connection of a pool until give.
func (s *Store) borrow(ctx context.Context, pool chan *sqlite.Conn) (c *sqlite.Conn, give func(), err error) {
	select {
	case c = <-pool:
		return c, func() { pool <- c }, nil
	case <-s.closed:
		return nil, nil, s.fail(errClosed)
	case <-ctx.Done():
		return nil, nil, s.fail(fmt.Errorf("%w: busy: %w", kapi.ErrUnavailable, context.Cause(ctx)))
	}
}
