package sqlite

import (
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// ownRunner returns the record of this process's own runner.
func ownRunner(id string) store.RunnerRecord {
	return store.RunnerRecord{ID: id, Host: "host", PID: 4711, BootID: "boot", Lease: 15 * time.Second, Own: true}
}

// mustRun renews this process's own runner.
func mustRun(t testing.TB, s *Store, id string) {
	t.Helper()
	if err := s.Renew(kapitest.Within(t), ownRunner(id)); err != nil {
		t.Fatalf("renewal of %s: %v", id, err)
	}
}

// runnerOf returns the record of a runner.
func runnerOf(t testing.TB, s *Store, id string) store.RunnerRecord {
	t.Helper()
	all, err := s.Runners(kapitest.Within(t), []string{id})
	if err != nil || len(all) != 1 {
		t.Fatalf("runner %s: %v (error: %v)", id, all, err)
	}
	return all[0]
}

// TestOlderBuildsAndSlots: a build that doesn't know slots sees a runner whose lease never runs out, and can still
// report.
func TestOlderBuildsAndSlots(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	for range 3 {
		mustRun(t, s, "r")
	}
	c := rawConn(t, path)
	defer c.Close()
	var lease, report int64
	err := each(c, "SELECT lease_ms, min_report FROM runners, head WHERE id = 'r'", nil, func(stmt *sqlite.Stmt) {
		lease, report = stmt.ColumnInt64(0), stmt.ColumnInt64(1)
	})
	if err != nil || report > 7 {
		t.Errorf("it may not report (%d): %v", report, err)
	}
	if lease := time.Duration(lease) * time.Millisecond; haveSlots && lease < 24*365*time.Hour {
		t.Errorf("it considers the runner silent after %v", lease)
	}
	if got := runnerOf(t, s, "r").Lease; got != 15*time.Second {
		t.Errorf("this build reads a lease of %v", got)
	}
}

// BenchmarkRenew renews this process's own runner, and another one, which takes a commit.
func BenchmarkRenew(b *testing.B) {
	for name, own := range map[string]bool{"own": true, "another's": false} {
		b.Run(name, func(b *testing.B) {
			s := openFor(b, newPath(b))
			r := ownRunner("r")
			r.Own = own
			ctx := kapitest.Within(b)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Renew(ctx, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A runner that a commit concerns several times is told once.
func TestBellsOnce(t *testing.T) {
	s := openFor(t, newPath(t))
	mustRun(t, s, "r")
	_, err := s.write(kapitest.Within(t), func(c *sqlite.Conn) (bool, error) {
		places, err := bells(c, []string{"r", "nobody", "r", "r"})
		if len(places) != 1 {
			t.Errorf("places to write to: %v", places)
		}
		return false, err
	})
	if err != nil {
		t.Fatal(err)
	}
}
