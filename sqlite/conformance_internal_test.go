package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/storetest"
)

func TestFile(t *testing.T) {
	storetest.Run(t, storetest.Backend{Bells: haveSlots, New: func(t testing.TB) func() store.Store {
		path := filepath.Join(t.TempDir(), "kapi.db")
		return func() store.Store { return openAt(t, path) }
	}})
}

func TestMemory(t *testing.T) {
	storetest.Run(t, storetest.Backend{Single: true, New: func(t testing.TB) func() store.Store {
		return func() store.Store {
			s, err := OpenMemory()
			if err != nil {
				t.Fatalf("OpenMemory: %v", err)
			}
			return s
		}
	}})
}

// openAt opens a store that its user closes.
func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// TestDurable: a commit of any connection is synced (PRAGMA synchronous = full).
func TestDurable(t *testing.T) {
	s := openFor(t, newPath(t))
	for i := range 1 + readers {
		_, c, give, err := s.borrow(kapitest.Within(t), i == 0, true)
		if err != nil {
			t.Fatal(err)
		}
		defer give()
		if got, err := pragma(c, "synchronous"); err != nil || got != 2 {
			t.Errorf("synchronous is %d, want 2, full (error: %v)", got, err)
		}
	}
}
