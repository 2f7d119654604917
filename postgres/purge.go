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

// farBelow is how far head.floor may be below the oldest tombstone. A purge reads the ongoing actions in
// between.
const farBelow = 2000

// A due is what a purge has to do.
type due struct {
	answers    bool
	operations bool    // one was last offered so long ago that it may be forgotten
	seqs       []int64 // of the tombstones to delete
	// floor is what head.floor can be raised to once they are deleted, and before what it is.
	floor, before int64
}

func (d *due) any() bool {
	return d.answers || d.operations || len(d.seqs) > 0 || d.floor-d.before > farBelow
}

// readDue queues the reads that fill d.
func (s *Store) readDue(b *pgx.Batch, d *due, r store.Retention) {
	*d = due{}
	b.Queue(s.sql.answersDue, r.Noted, r.Answered).QueryRow(func(row pgx.Row) error { return row.Scan(&d.answers) })
	b.Queue(s.sql.operationsDue, r.Offered).QueryRow(func(row pgx.Row) error { return row.Scan(&d.operations) })
	b.Queue(s.sql.floor).QueryRow(func(row pgx.Row) error { return row.Scan(&d.before, &d.floor) })
	b.Queue(s.sql.oldest, r.Limit).Query(func(rows pgx.Rows) error {
		var seq, at, kept int64
		tag, err := pgx.ForEachRow(rows, []any{&seq, &at}, func() error {
			switch {
			case at < r.Before || at > r.Future:
				d.seqs = append(d.seqs, seq)
			case kept == 0:
				kept = seq
			}
			return nil
		})
		if tag.RowsAffected() == int64(r.Limit) { // there may be more
			d.floor = seq
		}
		if kept != 0 {
			d.floor = kept - 1
		}
		return err
	})
}

// Purge implements store.Store.
func (s *Store) Purge(ctx context.Context, r store.Retention) (int, error) {
	var d due
	look := func(_ *link, b *pgx.Batch) { s.readDue(b, &d, r) }
	// First check without the lock whether there is anything to do.
	if err := s.read(ctx, look); err != nil || !d.any() {
		return 0, err
	}
	_, err := s.write(ctx, job{silent: true, read: look, write: func(b *pgx.Batch) (bool, error) {
		if d.answers {
			b.Queue(s.sql.noteAnswers, r.Noted, r.Now)
			b.Queue(s.sql.deleteAnswers, r.Answered)
		}
		if len(d.seqs) > 0 {
			b.Queue(s.sql.deleteActions, d.seqs)
			b.Queue(s.sql.raisePurged, d.seqs[len(d.seqs)-1])
		}
		b.Queue(s.sql.raiseFloor, d.floor)
		if len(d.seqs) < r.Limit { // only in the last of several calls
			b.Queue(byHash)
			b.Queue(s.sql.forgetRunners, r.Before)
			b.Queue(s.sql.forgetObservations)
			b.Queue(s.sql.forgetOffers)
			b.Queue(s.sql.forgetOperations, r.Offered)
			b.Queue(s.sql.forgetSaved)
			b.Queue(s.sql.forgetMarks)
			b.Queue(s.sql.freeLeftTurns)
			b.Queue(s.sql.forgetWriters, forgetWritersAfter.Milliseconds())
		}
		return d.any(), nil
	}})
	if err != nil {
		return 0, err
	}
	return len(d.seqs), nil
}
