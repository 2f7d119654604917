package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/store"
)

// A history takes place in one table, of one database cluster, on one timeline. Restored from a
// dump the table is another; a standby that is promoted, or a backup that is recovered to a point
// in time, begins a new timeline. Each may have lost what was acknowledged elsewhere. So who finds
// the history at another place than it says begins a new epoch.

// errMoved is what reading answers when the history is not where it took place.
var errMoved = errors.New("the history took place elsewhere")

// onTheSpot calls f, and once more if a new epoch had to be begun.
func (s *Store) onTheSpot(ctx context.Context, f func() error) error {
	err := f()
	if !errors.Is(err, errMoved) {
		return err
	}
	err = s.use(ctx, s.writer, func(l *link) error { return s.beginEpoch(ctx, l) })
	if err != nil {
		return err
	}
	return f()
}

// beginEpoch begins a new epoch, unless somebody has done so.
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
