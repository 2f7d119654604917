package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/kettubot/kapi/internal/store"
)

// The mark changes with every commit, of any store on the file, and with nothing else.
func TestGlance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kapi.db")
	a, b := openFor(t, path), openFor(t, path)
	glance := func() store.Mark {
		t.Helper()
		m, ok := a.Glance()
		if !ok {
			t.Fatal("there is no mark")
		}
		if other, ok := b.Glance(); !ok || other != m {
			t.Fatalf("two stores on one file see %v, and %v, %v", m, other, ok)
		}
		return m
	}
	before := glance()
	for i, st := range []*Store{a, b, b, a} {
		if _, err := st.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if glance() != before {
			t.Errorf("%d: reading changes the mark", i)
		}
		if err := st.Renew(t.Context(), store.RunnerRecord{ID: "r"}); err != nil {
			t.Fatal(err)
		}
		after := glance()
		if after == before {
			t.Errorf("%d: a commit doesn't change the mark", i)
		}
		before = after
	}
}

func TestGlanceInMemory(t *testing.T) {
	s, err := OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if m, ok := s.Glance(); ok {
		t.Errorf("a store in memory has a mark: %v", m)
	}
}
