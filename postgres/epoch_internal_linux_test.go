package postgres

import (
	"context"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/internal/store"
)

func headOf(t testing.TB, s *Store) store.Head {
	t.Helper()
	page, err := s.Feed(kapitest.Within(t), 0)
	if err != nil {
		t.Fatalf("Feed: %v", err)
	}
	return page.Head
}

// TestEpoch: a history that continues at another place, or from an earlier time, gets a new epoch, also for
// stores that are open. Its seq is ahead of all commits that may have been lost.
func TestEpoch(t *testing.T) {
	for name, change := range map[string]string{
		"another timeline": "UPDATE kapi.head SET place = regexp_replace(place, '/.*', '/00000000')",
		"another cluster":  "UPDATE kapi.head SET cluster = '1'",
		"a restored table": "CREATE TABLE kapi.old (LIKE kapi.head INCLUDING ALL); INSERT INTO kapi.old SELECT * FROM kapi.head;" +
			"DROP TABLE kapi.head; ALTER TABLE kapi.old RENAME TO head",
	} {
		t.Run(name, func(t *testing.T) {
			s, database := newStore(t)
			mustInsert(t, s, "a")
			before := headOf(t, s)
			server.Exec(t, database, change)
			after := headOf(t, s)
			if after.Epoch == before.Epoch || after.Seq != before.Seq+store.Ahead {
				t.Errorf("the head was %v, and is %v", before, after)
			}
			mustInsert(t, s, "b")
			if again := headOf(t, openFor(t, server.DSN(database))); again.Epoch != after.Epoch || again.Seq != after.Seq+1 {
				t.Errorf("another store reads the head %v, want %v", again, after)
			}
			wantIDs(t, s, "a", "b")
			// A commit notices the move, too.
			server.Exec(t, database, "UPDATE kapi.head SET place = 'elsewhere'")
			mustInsert(t, s, "c")
			if last := headOf(t, s); last.Epoch == after.Epoch {
				t.Errorf("the epoch is still %v", last)
			}
		})
	}
}

// TestCrash: after the server was killed and restarted, all acknowledged commits are there, and the store works
// again, in the same epoch.
func TestCrash(t *testing.T) {
	alone := pgtest.For(t, pgtest.Options{Durable: true, Settings: map[string]string{"max_connections": "20"}})
	s := openFor(t, alone.DSN("postgres"))
	mustInsert(t, s, "a")
	before := headOf(t, s)
	alone.Kill()
	ctx, cancel := context.WithTimeout(kapitest.Within(t), moment)
	defer cancel()
	wantRefusal(t, insert(ctx, s, "refused", nil), "dial error: ")
	if _, err := s.Feed(kapitest.Within(t), 0); err == nil {
		t.Error("a server that is gone was read")
	}
	if err := alone.Start(); err != nil {
		t.Fatal(err)
	}
	mustInsert(t, s, "b")
	wantIDs(t, s, "a", "b")
	if after := headOf(t, s); after.Epoch != before.Epoch || after.Seq != before.Seq+1 {
		t.Errorf("the head was %v, and is %v", before, after)
	}
	err := insert(kapitest.Within(t), s, "killed", func() {
		alone.Kill()
		if err := alone.Start(); err != nil {
			t.Error(err)
		}
	})
	wantRefusal(t, err, "it was not committed")
	mustInsert(t, s, "c")
	wantIDs(t, s, "a", "b", "c")
}
