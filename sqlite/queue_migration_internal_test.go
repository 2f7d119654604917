package sqlite

import (
	"errors"
	"slices"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// TestOlderQueue: actions that waited already when the store got the table queue are in it.
func TestOlderQueue(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	waits := store.Record{Action: kapi.Action{ID: "waits", Status: kapi.StatusPending}, Ticket: 7, Waits: []string{"k", "m", "long:key"}}
	ends := store.Record{Action: kapi.Action{ID: "ends", Status: kapi.StatusCompleted}, Ticket: 8}
	err := s.Commit(kapitest.Within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
		waits.Seq, ends.Seq = l.Seq+1, l.Seq+2
		return store.Writes{Head: l.Seq + 2, Insert: []store.Record{waits, ends}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"saved", "marks", "operations", "offers"} {
		script(t, path, "DROP TABLE "+table)
	}
	script(t, path, "ALTER TABLE actions DROP COLUMN defined", "ALTER TABLE runners DROP COLUMN asked", "DROP TABLE queue", "ALTER TABLE head DROP COLUMN floor", "CREATE INDEX actions_pending ON actions (ticket) WHERE status = 0", "PRAGMA user_version = 8")
	s = openFor(t, path)
	errLook := errors.New("only a look")
	for _, key := range waits.Waits {
		err := s.Commit(kapitest.Within(t), store.Batch{Light: true, Keys: []string{key}}, func(l store.Loaded) (store.Writes, error) {
			if len(l.Found) != 1 || l.Found[0].ID != "waits" || len(l.Held) != 3 {
				t.Errorf("%s: found %v, and looked up %v", key, l.Found, l.Held)
			}
			return store.Writes{}, errLook
		})
		if !errors.Is(err, errLook) {
			t.Error(err)
		}
	}
}

// TestPurgeFloor: a purge raises the floor from which the next one looks for old endings, up to the oldest.
func TestPurgeFloor(t *testing.T) {
	const many = farBelow + 10
	path := newPath(t)
	s := openFor(t, path)
	err := s.Commit(kapitest.Within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
		w := store.Writes{Head: many}
		for seq := range uint64(many) {
			r := store.Record{Action: kapi.Action{ID: newToken(seq), Seq: seq + 1, Status: kapi.StatusRunning, UpdatedAt: 60}}
			if seq == many-1 {
				r.Status = kapi.StatusCompleted
			}
			w.Insert = append(w.Insert, r)
		}
		return w, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		before int64
		floor  int64
	}{{50, many - 1}, {50, many - 1}, {70, many}} {
		if _, err := s.Purge(kapitest.Within(t), store.Retention{Now: 100, Before: c.before, Future: 1000, Limit: 100}); err != nil {
			t.Fatal(err)
		}
		if got := floorOf(t, path); got != c.floor {
			t.Errorf("before %d: the floor is %d, want %d", c.before, got, c.floor)
		}
	}
	if plan := planOf(t, path, "EXPLAIN QUERY PLAN "+selectOldest); !slices.Contains(plan, "SEARCH actions USING INTEGER PRIMARY KEY (rowid>?)") {
		t.Errorf("the plan is %q", plan)
	}
}

func newToken(n uint64) string {
	return "a" + string(rune('a'+n%26)) + string(rune('a'+n/26%26)) + string(rune('a'+n/676))
}

func floorOf(t *testing.T, path string) (floor int64) {
	t.Helper()
	c := rawConn(t, path)
	defer c.Close()
	if err := each(c, selectFloor, nil, func(stmt *sqlite.Stmt) { floor = stmt.ColumnInt64(0) }); err != nil {
		t.Fatal(err)
	}
	return floor
}

func planOf(t *testing.T, path, query string) (plan []string) {
	t.Helper()
	c := rawConn(t, path)
	defer c.Close()
	if err := each(c, query, nil, func(stmt *sqlite.Stmt) { plan = append(plan, stmt.ColumnText(3)) }); err != nil {
		t.Fatal(err)
	}
	return plan
}
