package sqlite

import (
	"os"
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"

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

// TestCache: each connection has the page cache that the options say.
func TestCache(t *testing.T) {
	for option, want := range map[int]int64{0: -2000, 256: -256} {
		s, err := OpenWith(kapitest.Within(t), newPath(t), Options{Cache: option, Warn: func(string) {}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range s.now().opened {
			if got, err := pragma(c, "cache_size"); err != nil || got != want {
				t.Errorf("with Cache %d a connection has %d, %v", option, got, err)
			}
		}
		closeStore(t, s)
	}
}

// TestReaders: a store has as many connections for reading as its options say, also after its file was replaced,
// and passes no more at a time.
func TestReaders(t *testing.T) {
	for _, test := range []struct{ option, want int }{{0, readers}, {1, 1}, {3, 3}} {
		path := newPath(t)
		s, err := OpenWith(kapitest.Within(t), path, Options{Readers: test.option, Warn: func(string) {}})
		if err != nil {
			t.Fatal(err)
		}
		if n := cap(s.now().reader); n != test.want || len(s.now().opened) != 1+test.want {
			t.Errorf("with Readers %d there are %d, and %d connections, want %d for reading", test.option, n, len(s.now().opened), test.want)
		}
		for _, end := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + end); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.write(t.Context(), func(*sqlite.Conn) (bool, error) { return false, nil }); err != nil {
			t.Fatal(err)
		}
		if n := cap(s.now().reader); n != test.want {
			t.Errorf("with Readers %d there are %d in the next file", test.option, n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
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
