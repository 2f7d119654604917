package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// An answer is kept for 24 hours after its action was ongoing for the last time. That is
// noted once an hour, so it is kept an hour longer.
const (
	noteEvery = time.Hour
	keepFor   = 24*time.Hour + noteEvery
)

// Purge implements kapi.Store.
func (s *Store) Purge(ctx context.Context, before int64, limit int) (int, error) {
	now := time.Now()
	note, old := now.Add(-noteEvery).UnixMilli(), now.Add(-keepFor).UnixMilli()
	// One that is dated far in the future (a clock that jumped) would never grow old: it goes too.
	future := now.Add(time.Hour).UnixMilli()
	var due []int64
	var answers bool
	look := func(_ *link, b *pgx.Batch) {
		due = nil
		b.Queue(s.sql.answersDue, note, old).QueryRow(func(row pgx.Row) error { return row.Scan(&answers) })
		b.Queue(s.sql.oldest, limit).Query(func(rows pgx.Rows) error {
			var seq, at int64
			_, err := pgx.ForEachRow(rows, []any{&seq, &at}, func() error {
				if at < before || at > future {
					due = append(due, seq)
				}
				return nil
			})
			return err
		})
	}
	// Without the lock it is seen whether there is anything to do.
	if err := s.read(ctx, look); err != nil || len(due) == 0 && !answers {
		return 0, err
	}
	_, err := s.write(ctx, job{silent: true, read: look, write: func(b *pgx.Batch) (bool, error) {
		if answers {
			b.Queue(s.sql.noteAnswers, note, now.UnixMilli())
			b.Queue(s.sql.deleteAnswers, old)
		}
		if len(due) > 0 {
			b.Queue(s.sql.deleteActions, due)
			b.Queue(s.sql.raisePurged, due[len(due)-1])
		}
		if len(due) < limit { // once for all that there is to purge
			b.Queue(byHash)
			b.Queue(s.sql.forgetRunners, before)
			b.Queue(s.sql.forgetObservations)
			b.Queue(s.sql.forgetWriters, keepFor.Milliseconds())
		}
		return answers || len(due) > 0, nil
	}})
	if err != nil {
		return 0, err
	}
	return len(due), nil
}
