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
	s.keeping.Lock()
	defer s.keeping.Unlock()
	if s.keeper == nil {
		s.keeper = keep.New(fmt.Sprint(os.Geteuid(), " ", namespace))
	}
	keeps := s.keeper.Try(f.wake.file.Load())
	if s.kept++; !keeps && s.kept%wakeLooks != 0 || f.wake.inPlace() == nil { // only peers that listen notice that otherwise
		return keeps
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	now, err := s.keepWake(ctx)
	if err != nil {
		return keeps
	}
	return s.keeper.Try(now.wake.file.Load())
}

// wakeLooks is how many calls of Keep apart a peer that isn't the keeper looks whether the wake file is in place.
const wakeLooks = 4
