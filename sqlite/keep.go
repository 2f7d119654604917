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
	if f.wake.inPlace() != nil { // only peers that listen notice that otherwise
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		if now, err := s.keepWake(ctx); err == nil {
			f = now
		}
	}
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if s.keeper == nil {
		s.keeper = keep.New(fmt.Sprint(os.Geteuid(), " ", namespace))
	}
	return s.keeper.Try(f.wake.file.Load())
}
