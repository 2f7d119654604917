package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/store"
)

// A history belongs to one table of one database cluster, on one timeline. After a restore from a dump the
// table is another one; a promoted standby, or a backup that is recovered to a point in time, begins a new
// timeline. Each may have lost acknowledged commits. So a store that finds the history at another place
// than the recorded one begins a new epoch.

// errMoved is returned by a read that finds the history at another place than the recorded one.
var errMoved = errors.New("the history is from another database or timeline")

// onTheSpot calls f. If f returns errMoved, it begins a new epoch and calls f once more.
func (s *Store) onTheSpot(ctx context.Context, f func() error) error {
	err := f()
	if !errors.Is(err, errMoved) {
		return err
	}
	err = s.use(ctx, s.toWrite, func(l *link) error { return s.beginEpoch(ctx, l) })
	if err != nil {
		return err
	}
	return f()
}

// beginEpoch begins a new epoch, unless another process has done so already.
func (s *Store) beginEpoch(ctx context.Context, l *link) error {
	goesOn := false
	_, err := s.transact(ctx, l, job{
		read: func(l *link, b *pgx.Batch) {
			b.Queue(s.sql.goesOn, l.cluster).QueryRow(func(row pgx.Row) error { return row.Scan(&goesOn) })
		},
		write: func(b *pgx.Batch) (bool, error) {
			if !goesOn {
				b.Queue(s.sql.beginEpoch, l.cluster, newID(), store.Ahead)
			}
			return !goesOn, nil
		},
	})
	return err
}
