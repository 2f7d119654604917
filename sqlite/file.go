package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
	"github.com/kettubot/kapi/internal/store"
)

// A file is the file that a store has open, with its connections. The store leaves it when it is no
// longer the one at the store's path.
type file struct {
	path   string // "" in memory
	where  where
	facts  facts
	rights rights   // with which it was opened
	sides  [2]facts // of the log and its index
	schema int64    // the version that this build knows
	cache  int      // Options.Cache
	known  mark     // the latest mark of the files that were at the path before
	writer chan *sqlite.Conn
	reader chan *sqlite.Conn
	wake   *wakeFile // nil in memory
	opened []*sqlite.Conn
	// refusal is why the current write transaction may start no actions; nil if it may.
	refusal error

	shutting chan struct{} // closed when close begins: no new calls
	shut     chan struct{} // closed when close has closed everything
	// The progress of close, guarded by Store.opening. collected counts the connections it has taken back.
	closing, closed bool
	collected       int

	indexing sync.Mutex
	index    index
	indexed  bool
}

// where identifies a file and the place of its log; 0 is unknown.
type where struct{ file, place int64 }

func newFile(path string, size size) *file {
	return &file{
		path:   path,
		cache:  size.cache,
		writer: make(chan *sqlite.Conn, 1), reader: make(chan *sqlite.Conn, size.readers),
		shutting: make(chan struct{}), shut: make(chan struct{}),
	}
}

// dressSides gives SQLite's side files the store's owner, group and mode, and checks them: somebody may
// have put other files there.
func (f *file) dressSides() (err error) {
	for i, end := range []string{"-wal", "-shm"} {
		dressSide(f.path, end, f.facts)
		if f.sides[i], err = lookAtSide(f.path, end, f.facts); err != nil {
			return fmt.Errorf("%w: %s: %w", kapi.ErrUnavailable, f.path+end, bare(err))
		}
	}
	return nil
}

func (f *file) connect(ctx context.Context) (*sqlite.Conn, error) {
	c, err := openConn(ctx, f.path)
	if err == nil && f.cache > 0 {
		if err = exec(c, "PRAGMA cache_size = -"+strconv.Itoa(f.cache)); err != nil {
			err = errors.Join(storeError(err), c.Close())
		}
	}
	if err == nil {
		f.opened = append(f.opened, c)
	}
	return c, err
}

// lend takes a connection out of a pool. It returns nil if the file is being closed. The call that has the
// connection may itself be waiting for its turn to write; then lend calls store.Moved as turns pass, as
// that call does.
func (f *file) lend(ctx context.Context, pool chan *sqlite.Conn) (*sqlite.Conn, error) {
	select {
	case c := <-pool:
		return c, nil
	default:
	}
	pauses := backoff.New(lookEvery, lookSeldom)
	timer := time.NewTimer(inTimeFor(ctx, pauses.Next()))
	defer timer.Stop()
	for before := f.wake.turns().look().moves; ; {
		select {
		case c := <-pool:
			return c, nil
		case <-f.shutting:
			return nil, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: busy: %w", kapi.ErrUnavailable, context.Cause(ctx))
		case <-timer.C:
			if moves := f.wake.turns().look().moves; moves != before {
				before = moves
				store.Moved(ctx)
			}
			timer.Reset(inTimeFor(ctx, pauses.Next()))
		}
	}
}

// find examines the file, and creates it if it doesn't exist.
//
// It never opens an existing file. Closing it again would release the locks that other connections of
// this process have on it (fcntl(2)). Then another process could believe that it is the last one, and
// delete the WAL.
func (f *file) find(network func(folder string) string) error {
	path := f.path
	if kind := network(filepath.Dir(path)); kind != "" {
		return fmt.Errorf("%w: it is on a network file system (%s), where SQLite's locks can't be relied on", kapi.ErrUnavailable, kind)
	}
	now, err := factsOf(path)
	if isGone(err) {
		if err := makeFile(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: can't be created: %w", kapi.ErrUnavailable, bare(err))
		}
		now, err = factsOf(path)
	}
	if err == nil && now.kind != "" { // not a link: those are resolved
		return fmt.Errorf("%w: it is not a regular file", kapi.ErrUnavailable)
	}
	if err == nil {
		err = checkAccess(path)
	}
	if err != nil {
		return fmt.Errorf("%w: can't be opened for writing: %w", kapi.ErrUnavailable, bare(err))
	}
	if err := checkFolder(filepath.Dir(path)); err != nil { // SQLite would only say that it can't open it
		return fmt.Errorf("%w: its folder can't be written to: %w", kapi.ErrUnavailable, err)
	}
	f.facts = now
	if f.where, err = identify(path, true); err != nil {
		return err
	}
	return checkSides(path, now)
}

// bare returns an error without its path, for a message that names the path already.
func bare(err error) error {
	var named *fs.PathError
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

// inPlace reports whether the file and its log are still the ones at the path that name leads to. A file
// that can't be examined counts as in place.
func (f *file) inPlace(name string) bool { return f.path == "" || f.changed(name) == "" }

// changed says what happened to the file, "" if it is in place.
func (f *file) changed(name string) string {
	now, err := factsOf(name)
	if err == nil && now.kind != "" { // it may be a link
		real, refused := resolve(name)
		if now, err = factsOf(real); refused != nil {
			if _, err = os.Stat(name); err == nil {
				return "was replaced by a symbolic link that is not followed"
			}
		}
	}
	switch {
	case isGone(err):
		return "was removed"
	case err == nil && !now.same(f.facts):
		return "was replaced by another file"
	}
	for i, end := range []string{"-wal", "-shm"} {
		if now, err := factsOf(f.path + end); isGone(err) || err == nil && !now.same(f.sides[i]) {
			return "has lost its " + f.path + end
		}
	}
	return ""
}

func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// close waits for calls in progress and closes the file. If ctx ends before that, it returns an error and
// the next call continues. A nil file counts as closed. The caller holds Store.opening.
func (f *file) close(ctx context.Context) error {
	if f == nil || f.closed {
		return nil
	}
	if !f.closing {
		f.closing = true
		close(f.shutting)
	}
	for ; f.collected < len(f.opened); f.collected++ {
		select {
		case <-f.writer:
		case <-f.reader:
		case <-ctx.Done():
			return fmt.Errorf("%w: busy: %w", kapi.ErrUnavailable, context.Cause(ctx))
		}
	}
	f.wake.turns().part()
	f.closed = true
	defer close(f.shut)
	return f.rights.do(f.letGo)
}

// letGo closes what is open. It leaves no log behind that could be taken for another file's.
func (f *file) letGo() error {
	if !f.displaced() {
		return f.closeAll()
	}
	// SQLite doesn't clean up the log of a file that is no longer at its path. So write its content to the
	// file, wherever that is, and remove it, so that it isn't taken for the log of the file that is at the
	// path now. Processes that open that file wait until the log is closed (see checkPair).
	_ = exec(f.opened[0], "PRAGMA wal_checkpoint(TRUNCATE)")
	for i, end := range []string{"-wal", "-shm"} {
		if now, lookErr := factsOf(f.path + end); lookErr == nil && now.same(f.sides[i]) {
			_ = os.Remove(f.path + end)
		}
	}
	return f.closeAll()
}

// displaced reports whether the file is no longer at its path.
func (f *file) displaced() bool {
	if f.path == "" {
		return false
	}
	now, err := factsOf(f.path)
	return isGone(err) || err == nil && !now.same(f.facts)
}

func (f *file) closeAll() error {
	var errs []error
	for _, c := range f.opened {
		errs = append(errs, c.Close())
	}
	if f.wake != nil {
		errs = append(errs, f.wake.Close())
	}
	f.indexing.Lock()
	defer f.indexing.Unlock()
	f.index.unmap()
	f.index, f.indexed = noIndex(), true
	return errors.Join(errs...)
}

func (f *file) glance() (store.Mark, bool) {
	f.indexing.Lock()
	defer f.indexing.Unlock()
	if !f.indexed && f.path != "" {
		f.index, f.indexed = mapIndex(f.path), true
	}
	return f.index.mark()
}
