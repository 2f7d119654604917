package sqlite

import (
	"context"
	"fmt"
	"os"

	"github.com/kettubot/kapi/internal/keep"
)

// Keep implements store.Keeper. The keeper's locks are on the wake file, which every peer of the store
// has open.
func (s *Store) Keep(namespace string) bool {
	if s.path == "" {
		return true
	}
	f := s.now()
	if f == nil { // while there is no store, there is nothing to keep
		return false
	}
	tried, kept := s.tryKeep(f, namespace)
	if !kept {
		return false
	}
	// Only peers that listen notice otherwise that the wake file was removed. Once its keeper has seen that, the others
	// get its locks, one after the other, and see it, too.
	if f.wake.inPlace() == nil && f.wake.file.Load() == tried {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	now, err := s.keepWake(ctx)
	if err != nil {
		return true
	}
	_, kept = s.tryKeep(now, namespace)
	return kept
}

// tryKeep reports whether this process is the keeper by the locks of the wake file, which it returns.
func (s *Store) tryKeep(f *file, namespace string) (*os.File, bool) {
	s.keeping.Lock() // not while a file is opened: Quiesce waits for it
	defer s.keeping.Unlock()
	if s.keeper == nil {
		s.keeper = keep.New(fmt.Sprint(os.Geteuid(), " ", namespace))
	}
	tried := f.wake.file.Load()
	return tried, s.keeper.Try(tried)
}
