package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/kapitest"
)

// TestByIndex: neither a reader nor a writer scans the whole table to find new actions, although the
// statistics still say that it is empty.
func TestByIndex(t *testing.T) {
	s, _ := newStore(t)
	for _, id := range []string{"a", "b", "c"} {
		mustInsert(t, s, id)
	}
	var before, after int64
	scans := func(b *pgx.Batch, n *int64) {
		b.Queue(`SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'actions'`).
			QueryRow(func(row pgx.Row) error { return row.Scan(n) })
	}
	feed := func(l *link, b *pgx.Batch) {
		scans(b, &before)
		b.Queue(s.sql.feed, l.cluster, int64(2)).Query(func(rows pgx.Rows) error {
			page, _, err := s.scanPage(rows, 2)
			if len(page.Records) != 1 {
				t.Errorf("read %d records, want the last", len(page.Records))
			}
			return err
		})
		scans(b, &after)
	}
	for range 7 { // the first five would have custom plans
		if err := s.read(kapitest.Within(t), feed); err != nil {
			t.Fatal(err)
		}
		if before != after {
			t.Fatal("a reader scanned the whole table")
		}
		_, err := s.write(kapitest.Within(t), job{read: feed, write: func(*pgx.Batch) (bool, error) { return false, nil }})
		if err != nil {
			t.Fatal(err)
		}
		if before != after {
			t.Fatal("a writer scanned the whole table")
		}
	}
}

// TestPurgeByHash: unused runners are found by one scan of each table, not by a scan of one table for each
// row of the other.
func TestPurgeByHash(t *testing.T) {
	s, _ := newStore(t)
	var plan []string
	_, err := s.write(kapitest.Within(t), job{
		read: func(_ *link, b *pgx.Batch) {
			b.Queue(byHash)
			b.Queue("EXPLAIN "+s.sql.forgetRunners, int64(0)).Query(func(rows pgx.Rows) (err error) {
				plan, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
		},
		write: func(*pgx.Batch) (bool, error) { return false, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(plan, "\n"); !strings.Contains(all, "Hash") || strings.Contains(all, "Nested Loop") {
		t.Error(all)
	}
}
