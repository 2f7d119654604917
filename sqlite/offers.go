package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

const (
	upsertOperation = `INSERT INTO operations (name, about, offered_at) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET about = excluded.about, offered_at = excluded.offered_at`
	insertOffer      = `INSERT OR IGNORE INTO offers (runner, name) VALUES (?, ?)`
	withdrawOffers   = `DELETE FROM offers WHERE runner = ?`
	selectOperations = `SELECT name, about, offered_at FROM operations ORDER BY name`
	selectOffers     = `SELECT runner FROM offers WHERE name = ?`

	selectOldOperation = `SELECT 1 FROM operations WHERE offered_at < ? LIMIT 1`
	forgetOffers       = `DELETE FROM offers WHERE NOT EXISTS (SELECT 1 FROM runners WHERE id = runner)`
	forgetOperations   = `DELETE FROM operations WHERE offered_at < ? AND name NOT IN (SELECT name FROM offers)`
)

// Offer implements store.Store.
func (s *Store) Offer(ctx context.Context, runner string, offers []store.OfferRecord) error {
	_, err := s.write(ctx, func(c *sqlite.Conn) (bool, error) {
		now := time.Now().UnixMilli()
		err := run(c, withdrawOffers, func(stmt *sqlite.Stmt) { stmt.BindText(1, runner) })
		for i := 0; err == nil && i < len(offers); i++ {
			o := &offers[i]
			err = run(c, upsertOperation, func(stmt *sqlite.Stmt) {
				stmt.BindText(1, o.Name)
				stmt.BindBytes(2, o.About)
				stmt.BindInt64(3, now)
			})
			if err == nil {
				err = run(c, insertOffer, func(stmt *sqlite.Stmt) {
					stmt.BindText(1, runner)
					stmt.BindText(2, o.Name)
				})
			}
		}
		return true, err
	})
	return err
}

// Offers implements store.Store.
func (s *Store) Offers(ctx context.Context) (all []store.OfferRecord, err error) {
	var rows []runnerRows // of each operation
	err = s.read(ctx, func(c *sqlite.Conn) error {
		err := each(c, selectOperations, nil, func(stmt *sqlite.Stmt) {
			all = append(all, store.OfferRecord{Name: stmt.ColumnText(0), About: column(stmt, 1), OfferedAt: stmt.ColumnInt64(2)})
		})
		rows = make([]runnerRows, len(all))
		for i := 0; err == nil && i < len(all); i++ {
			err = readOffering(c, all[i].Name, &rows[i])
		}
		return err
	})
	for i := range rows {
		s.sight(&rows[i])
		all[i].Runners = rows[i].all
	}
	return all, err
}

// readOffering reads the runners of the peers that offer an operation.
func readOffering(c *sqlite.Conn, name string, rows *runnerRows) error {
	var runners []string
	err := each(c, selectOffers, func(stmt *sqlite.Stmt) { stmt.BindText(1, name) }, func(stmt *sqlite.Stmt) {
		runners = append(runners, stmt.ColumnText(0))
	})
	for i := 0; err == nil && i < len(runners); i++ {
		err = rows.add(c, runners[i])
	}
	return err
}

// purgeOffers deletes the offers of runners that are gone, and the operations that were last offered before a time by
// nobody else.
func purgeOffers(c *sqlite.Conn, before int64) error {
	if err := step(c, forgetOffers); err != nil {
		return err
	}
	return run(c, forgetOperations, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, before) })
}
