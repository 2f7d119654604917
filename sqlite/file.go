package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// A file is what a store has open, for as long as it is what stands at the store's path.
type file struct {
	path   string // "" in memory
	where  where
	facts  facts
	rights rights   // it was opened with
	sides  [2]facts // of the log and its index
	schema int64    // the version that this build knows
	known  mark     // of the file that was here before
	writer chan *sqlite.Conn
	reader chan *sqlite.Conn
	wake   *wakeFile // nil in memory
	opened []*sqlite.Conn

	shutting chan struct{} // closed when nothing may begin any more
	shut     chan struct{} // closed when nothing goes on any more, and all is closed
	// How far that has come, guarded by Store.opening: connections that were taken back.
	closing, closed bool
	collected       int

	indexing sync.Mutex
	index    index
	indexed  bool
}

// where tells a file, and the place of its log, from all others; 0 is not known.
type where struct{ file, place int64 }

func newFile(path string, readers int) *file {
	return &file{
		path:   path,
		writer: make(chan *sqlite.Conn, 1), reader: make(chan *sqlite.Conn, readers),
		shutting: make(chan struct{}), shut: make(chan struct{}),
	}
}

// dressSides looks at the files that SQLite has made by now, or that somebody has put there meanwhile.
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
	if err == nil {
		f.opened = append(f.opened, c)
	}
	return c, err
}

// lend takes a connection out of a pool, nil if the file is closed. Who has it may be waiting for their turn to
// write, and then who waits for it does so, too.
func (f *file) lend(ctx context.Context, pool chan *sqlite.Conn) (*sqlite.Conn, error) {
	select {
	case c := <-pool:
		return c, nil
	default:
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for before, _ := f.wake.turns().look(); ; {
		select {
		case c := <-pool:
			return c, nil
		case <-f.shutting:
			return nil, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: busy: %w", kapi.ErrUnavailable, context.Cause(ctx))
		case <-tick.C:
			if moves, _ := f.wake.turns().look(); moves != before {
				before = moves
				store.Moved(ctx)
			}
		}
	}
}

// find makes the file with its mode if it isn't there, and finds out what it is.
//
// It never opens a file that is there: closing it again would take away the locks that
// other connections of this process have on it (fcntl(2)), and with them everybody's
// protection from a process that believes to be the last and deletes the WAL.
func (f *file) find(network func(folder string) string) error {
	path := f.path
	if kind := network(filepath.Dir(path)); kind != "" {
		return fmt.Errorf("%w: it is on a network file system (%s), where SQLite's locks can't be relied on", kapi.ErrUnavailable, kind)
	}
	now, err := factsOf(path)
	if isGone(err) {
		if err := makeFile(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: can't be made: %w", kapi.ErrUnavailable, bare(err))
		}
		now, err = factsOf(path)
	}
	if err == nil && now.kind != "" { // a link would have been resolved
		return fmt.Errorf("%w: it is not a regular file", kapi.ErrUnavailable)
	}
	if err == nil {
		err = checkAccess(path)
	}
	if err != nil {
		return fmt.Errorf("%w: can't be opened for writing: %w", kapi.ErrUnavailable, bare(err))
	}
	if err := checkFolder(filepath.Dir(path)); err != nil { // SQLite would only say that it can't open
		return fmt.Errorf("%w: its folder can't be written to: %w", kapi.ErrUnavailable, err)
	}
	f.facts = now
	if f.where, err = identify(path, true); err != nil {
		return err
	}
	return checkSides(path, now)
}

// bare takes the path off an error that will name it.
func bare(err error) error {
	var named *fs.PathError
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

// inPlace reports whether this is still what stands at the path, under the name that was given for
// it, with the log that it has open. What can't be looked at counts as being there.
func (f *file) inPlace(name string) bool { return f.path == "" || f.changed(name) == "" }

// changed says what became of the file, "" if it is in place.
func (f *file) changed(name string) string {
	now, err := factsOf(name)
	if err == nil && now.kind != "" { // a link, as it may be
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

// close closes the file, after what goes on in it. If ctx ends before that is over, the next call
// goes on. A nil file is closed. Store.opening is held.
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

// letGo closes what is open, and leaves nothing behind that would be taken for another file's.
func (f *file) letGo() error {
	if !f.displaced() {
		return f.closeAll()
	}
	// SQLite leaves the log as it is then. What is in it goes to the file, wherever that is, and the
	// log away: it must not be taken for that of the file which stands there now. Those who come to that
	// wait (checkPair) as long as the log is open.
	_ = exec(f.opened[0], "PRAGMA wal_checkpoint(TRUNCATE)")
	for i, end := range []string{"-wal", "-shm"} {
		if now, lookErr := factsOf(f.path + end); lookErr == nil && now.same(f.sides[i]) {
			_ = os.Remove(f.path + end)
		}
	}
	return f.closeAll()
}

// displaced reports whether another file stands at the path, or none.
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
