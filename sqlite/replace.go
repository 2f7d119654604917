package sqlite

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
)

// A store's file may be removed, or another put into its place, while the store is open: by whoever
// tidies up, or restores a backup. Those who open the store from then on know nothing of those who
// have the old file. So before each reading and in each writing it is seen whether the file is still
// what stands at its path, and if not, the store goes over to what does. The peer finds another
// history there, and records in it what it runs.

// errClosed is what a store answers once Close was called.
var errClosed = fmt.Errorf("%w: it is closed", kapi.ErrUnavailable)

// errMoved says that the file went from its path.
var errMoved = fmt.Errorf("%w: it was removed or replaced", kapi.ErrUnavailable)

// now returns the file, nil if there is none.
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

// borrow takes a connection until give. It is that of the file that is at the path now, if that is to
// be looked at; to write, one is made there if there is none.
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
		} // else another takes its place, unless the store was closed
	}
}

// current returns the file that is at the path now.
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
	case now == nil: // another caller was faster, and found none
	case now == f:
		s.leave(f)
	default:
		return now, nil
	}
	return s.enter(ctx, write)
}

// leave gives up a file that is not in its place any more.
func (s *Store) leave(f *file) {
	s.set(nil)
	s.gone, s.lost = f, false
	if last := f.wake.read(); last.seq >= s.known.seq {
		s.known = last
	}
	what := f.changed(s.name)
	if what == "" {
		what = "was taken away for a moment"
	}
	s.warn(fmt.Sprintf("the store %s %s while it was open", s.name, what))
}

// enter opens what is at the path. Only who writes makes a new file there: a store that somebody is
// about to restore must not be made by those who only look.
func (s *Store) enter(ctx context.Context, write bool) (*file, error) {
	// SQLite tidies up by name. So what was open is closed before anything else is made.
	if err := s.gone.close(ctx); errors.Is(err, kapi.ErrUnavailable) {
		return nil, err
	}
	if _, err := factsOf(s.name); isGone(err) && !write {
		return nil, errMoved
	}
	path, err := resolve(s.name)
	var f *file
	if err == nil {
		f, err = openFile(ctx, path, s.known)
	}
	if err != nil {
		if write && !s.lost {
			s.lost = true
			s.warn(fmt.Sprintf("what is done here is on no record until the store %s can be opened again: %v", s.name, err))
		}
		return nil, err
	}
	s.set(f)
	if before := s.gone; before != nil && f.where == before.where {
		s.warn(fmt.Sprintf("the store %s is open again", s.name))
	} else {
		s.warn(fmt.Sprintf("the store %s is another one now: what goes on here is recorded in that", s.name))
	}
	return f, nil
}
