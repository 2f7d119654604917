package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// deadline limits everything that the tests wait for. It is generous, because no test measures how fast the
// store is.
const deadline = 30 * time.Second

// openFor opens a store, and closes it when t ends.
func openFor(t testing.TB, path string) *Store {
	t.Helper()
	s := openAt(t, path)
	s.watchAfter = 0 // else a test that listens for less than a second would only poll
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// newPath returns a path at which a store can be created.
func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "kapi.db") }

// makeStore creates a store with these actions at path, and closes it.
func makeStore(t testing.TB, path string, ids ...string) store.Head {
	t.Helper()
	s := openAt(t, path)
	for _, id := range ids {
		mustInsert(t, s, id)
	}
	head := headOf(t, s)
	closeStore(t, s)
	return head
}

// insert commits a running action that holds its own id as a key, and returns its seq.
func insert(ctx context.Context, s *Store, id string) (seq uint64, err error) {
	err = s.Commit(ctx, store.Batch{}, func(l store.Loaded) (store.Writes, error) {
		seq = l.Seq + 1
		r := store.Record{
			Action: kapi.Action{Seq: seq, ID: id, Title: "title of " + id, Status: kapi.StatusRunning, Keys: []string{id}},
			Fence:  seq,
		}
		return store.Writes{Head: seq, Insert: []store.Record{r}, Claim: []store.Claim{{Key: id, Action: id}}}, nil
	})
	return seq, err
}

func mustInsert(t testing.TB, s *Store, id string) uint64 {
	t.Helper()
	seq, err := insert(kapitest.Within(t), s, id)
	if err != nil {
		t.Fatalf("commit of %s: %v", id, err)
	}
	return seq
}

func headOf(t testing.TB, s *Store) store.Head {
	t.Helper()
	snapshot, err := s.Snapshot(kapitest.Within(t))
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	return snapshot.Head
}

// idsOf returns the ids of the ongoing actions in the order of seq, and checks that the feed has the same.
func idsOf(t testing.TB, s *Store) []string {
	t.Helper()
	snapshot, err := s.Snapshot(kapitest.Within(t))
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	slices.SortFunc(snapshot.Records, func(a, b store.Record) int { return int(a.Seq) - int(b.Seq) })
	page, err := s.Feed(kapitest.Within(t), 0)
	if err != nil {
		t.Fatalf("Feed: %v", err)
	}
	ids := namesOf(snapshot.Records)
	if feed := namesOf(page.Records); !slices.Equal(ids, feed) {
		t.Errorf("the snapshot has %q, the feed has %q", ids, feed)
	}
	return ids
}

func namesOf(records []store.Record) []string {
	ids := make([]string, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	return ids
}

func wantIDs(t testing.TB, s *Store, want ...string) {
	t.Helper()
	if got := idsOf(t, s); !slices.Equal(got, want) {
		t.Errorf("the store has %q, want %q", got, want)
	}
}

// wantRefusal checks that err wraps ErrUnavailable, names the store and says what is wrong.
func wantRefusal(t testing.TB, err error, path, why string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("no error, want one that says %q", why)
		return
	case !errors.Is(err, kapi.ErrUnavailable):
		t.Errorf("the error doesn't wrap kapi.ErrUnavailable: %v", err)
	}
	if got := err.Error(); !strings.HasPrefix(got, "store "+path+": ") || !strings.Contains(got, why) {
		t.Errorf("the error is\n\t%s\nwant it to name %s and to say %q", got, path, why)
	}
	if got := err.Error(); strings.Count(got, path+":") > 1 || strings.Contains(got, "\n") {
		t.Errorf("the error isn't one line that names the store once: %q", got)
	}
}

// wantOpenRefused checks that opening a store is refused.
func wantOpenRefused(t testing.TB, path, why string) {
	t.Helper()
	s, err := Open(path)
	if err == nil {
		closeStore(t, s)
	}
	wantRefusal(t, err, path, why)
}

// rawConn opens the file as another program would.
func rawConn(t testing.TB, path string) *sqlite.Conn {
	t.Helper()
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// script runs SQL on the file as another program would.
func script(t testing.TB, path string, queries ...string) {
	t.Helper()
	c := rawConn(t, path)
	for _, query := range queries {
		if err := sqlitex.ExecuteTransient(c, query, nil); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func isUnavailable(err error) bool { return errors.Is(err, kapi.ErrUnavailable) }

// warnings collects a store's warnings.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

// all returns the warnings since its last call.
func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := w.said
	w.said = nil
	return said
}
