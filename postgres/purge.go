package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/store"
)

// forgetWritersAfter is how long the number of a store's last transaction is kept. A store needs it when it
// notices that its connection broke during a commit, which may take long.
const forgetWritersAfter = 25 * time.Hour

// Purge implements store.Store.
func (s *Store) Purge(ctx context.Context, r store.Retention) (int, error) {
	var due []int64
	var answers bool
	look := func(_ *link, b *pgx.Batch) {
		due = nil
		b.Queue(s.sql.answersDue, r.Noted, r.Answered).QueryRow(func(row pgx.Row) error { return row.Scan(&answers) })
		b.Queue(s.sql.oldest, r.Limit).Query(func(rows pgx.Rows) error {
			var seq, at int64
			_, err := pgx.ForEachRow(rows, []any{&seq, &at}, func() error {
				if at < r.Before || at > r.Future {
					due = append(due, seq)
				}
				return nil
			})
			return err
		})
	}
	// First check without the lock whether there is anything to do.
	if err := s.read(ctx, look); err != nil || len(due) == 0 && !answers {
		return 0, err
	}
	_, err := s.write(ctx, job{silent: true, read: look, write: func(b *pgx.Batch) (bool, error) {
		if answers {
			b.Queue(s.sql.noteAnswers, r.Noted, r.Now)
			b.Queue(s.sql.deleteAnswers, r.Answered)
		}
		if len(due) > 0 {
			b.Queue(s.sql.deleteActions, due)
			b.Queue(s.sql.raisePurged, due[len(due)-1])
		}
		if len(due) < r.Limit { // only in the last of several calls
			b.Queue(byHash)
			b.Queue(s.sql.forgetRunners, r.Before)
			b.Queue(s.sql.forgetObservations)
			b.Queue(s.sql.forgetWriters, forgetWritersAfter.Milliseconds())
		}
		return answers || len(due) > 0, nil
	}})
	if err != nil {
		return 0, err
	}
	return len(due), nil
}
