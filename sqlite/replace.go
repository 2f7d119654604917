package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
)

// A store's file may be removed or replaced while the store is open, for example by an admin who cleans up
// or restores a backup. Processes that open the store afterwards don't see those that have the old file
// open. So before each read and in each write, the store checks that its file is still the one at its path.
// If it isn't, the store switches to the file at the path. Its peer finds another history there, and
// records in it what the peer runs.

// errClosed is returned by methods of a store after Close was called.
var errClosed = fmt.Errorf("%w: it is closed", kapi.ErrUnavailable)

// errMoved is returned when the file is no longer at its path.
var errMoved = fmt.Errorf("%w: it was removed or replaced", kapi.ErrUnavailable)

// now returns the open file, nil if there is none.
func (s *Store) now() *file {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file
}

func (s *Store) set(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file = f
}

// borrow takes a connection; the caller must call give to return it. If look is true, borrow first checks
// that the file is still the one at the path, and switches to the one that is. If there is none, it creates
// one if write is true, and otherwise returns errMoved.
func (s *Store) borrow(ctx context.Context, write, look bool) (f *file, c *sqlite.Conn, give func(), err error) {
	for {
		if f, err = s.current(ctx, write, look); err != nil {
			return nil, nil, nil, s.fail(err)
		}
		pool := f.reader
		if write {
			pool = f.writer
		}
		switch c, err = f.lend(ctx, pool); {
		case err != nil:
			return nil, nil, nil, s.fail(err)
		case c != nil:
			return f, c, func() { pool <- c }, nil
		} // else the file is being closed: the next round finds its successor, or that the store is closed
	}
}

// current returns the open file or, if look is true and that is no longer at the path, the one that is.
func (s *Store) current(ctx context.Context, write, look bool) (*file, error) {
	select {
	case <-s.closed:
		return nil, errClosed
	default:
	}
	f := s.now()
	if f != nil && (!look || f.inPlace(s.name)) {
		return f, nil
	}
	select {
	case s.opening <- struct{}{}:
		defer func() { <-s.opening }()
	case <-s.closed:
		return nil, errClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errMoved, context.Cause(ctx))
	}
	switch now := s.now(); {
	case now == nil: // another caller was faster, and found no file at the path
	case now == f:
		s.leave(f)
	default:
		return now, nil
	}
	return s.enter(ctx, write)
}

// leave makes the store forget a file that is no longer in its place. enter closes it.
func (s *Store) leave(f *file) {
	s.set(nil)
	s.gone, s.lost = f, false
	if last := f.wake.read(); last.seq >= s.known.seq {
		s.known = last
	}
	what := f.changed(s.name)
	if what == "" {
		what = "was missing for a moment"
	}
	s.warn(fmt.Sprintf("the store %s %s while it was open", s.name, what))
}

// enter opens the file at the path. It creates a missing one only if write is true: a process that only
// reads must not create a file where an admin is about to restore one.
func (s *Store) enter(ctx context.Context, write bool) (*file, error) {
	// SQLite deletes its side files by name. So the old file is closed before a new one is created.
	if err := s.gone.close(ctx); errors.Is(err, kapi.ErrUnavailable) {
		return nil, err
	}
	if _, err := factsOf(s.name); isGone(err) && !write {
		return nil, errMoved
	}
	path, err := resolve(s.name)
	var f *file
	if err == nil {
		f, err = openFile(ctx, path, s.size, s.known)
	}
	if err != nil {
		if write && !s.lost {
			s.lost = true
			s.warn(fmt.Sprintf("what this process does is not recorded until the store %s can be opened again: %v", s.name, err))
		}
		return nil, err
	}
	s.set(f)
	if before := s.gone; before != nil && f.where == before.where {
		s.warn(fmt.Sprintf("the store %s is open again", s.name))
	} else {
		s.warn(fmt.Sprintf("there is another store at %s now: what this process runs is recorded there", s.name))
	}
	return f, nil
}
