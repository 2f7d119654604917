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
	f := s.now()
	if s.path == "" || f == nil || f.wake == nil {
		return true
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
