package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/store"
)

// Offer implements store.Store.
func (s *Store) Offer(ctx context.Context, runner string, offers []store.OfferRecord) error {
	_, err := s.write(ctx, job{silent: true, read: readNothing, write: func(b *pgx.Batch) (bool, error) {
		names, about := make([]string, len(offers)), make([][]byte, len(offers))
		for i, o := range offers {
			names[i], about[i] = o.Name, o.About
		}
		b.Queue(s.sql.withdraw, runner)
		b.Queue(s.sql.operate, names, about, time.Now().UnixMilli())
		b.Queue(s.sql.offer, runner, names)
		return true, nil
	}})
	return err
}

// Offers implements store.Store.
func (s *Store) Offers(ctx context.Context) (all []store.OfferRecord, err error) {
	err = s.read(ctx, func(_ *link, b *pgx.Batch) {
		b.Queue(s.sql.operations).Query(func(rows pgx.Rows) (err error) {
			all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (o store.OfferRecord, err error) {
				return o, row.Scan(&o.Name, &o.About, &o.OfferedAt)
			})
			return err
		})
		b.Queue(s.sql.offering).Query(func(rows pgx.Rows) error {
			at := make(map[string]int, len(all))
			for i := range all {
				at[all[i].Name] = i
			}
			for rows.Next() {
				var name string
				r, err := scanRunner(named{rows, &name})
				if err != nil {
					return err
				}
				if i, ok := at[name]; ok { // else it was offered only after the first query
					all[i].Runners = append(all[i].Runners, r)
				}
			}
			return rows.Err()
		})
	})
	return all, err
}

// A named is a row whose last column is a name.
type named struct {
	pgx.CollectableRow
	name *string
}

func (n named) Scan(into ...any) error { return n.CollectableRow.Scan(append(into, n.name)...) }
