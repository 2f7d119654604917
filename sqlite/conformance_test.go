package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/storetest"
)

func TestFile(t *testing.T) {
	storetest.Run(t, storetest.Backend{New: func(t testing.TB) func() kapi.Store {
		path := filepath.Join(t.TempDir(), "kapi.db")
		return func() kapi.Store { return openAt(t, path) }
	}})
}

func TestMemory(t *testing.T) {
	storetest.Run(t, storetest.Backend{Single: true, New: func(t testing.TB) func() kapi.Store {
		return func() kapi.Store {
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
