package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

const (
	// The oldest tombstones have the lowest seqs, so this reads few rows. A tombstone that is dated far in
	// the future, because a clock jumped, would never expire, so it is deleted, too (see readDue).
	selectOldest = `SELECT seq, updated_at FROM actions WHERE status >= 4 ORDER BY seq LIMIT ?`
	deleteAction = `DELETE FROM actions WHERE seq = ?`
	raisePurged  = `UPDATE head SET purged = max(purged, ?)`

	selectUnheard = `SELECT id, slot, slot_file FROM runners WHERE heard_at < ?
		AND id NOT IN (SELECT runner FROM actions WHERE runner IS NOT NULL)`
	deleteRunner       = `DELETE FROM runners WHERE id = ?`
	deleteObservations = `DELETE FROM observations WHERE runner NOT IN (SELECT id FROM runners)`
)

// Purge implements store.Store.
func (s *Store) Purge(ctx context.Context, r store.Retention) (purged int, err error) {
	if err := s.purgeAnswers(ctx, r); err != nil {
		return 0, err
	}
	due, err := s.due(ctx, r)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	_, err = s.writeIn(ctx, func(f *file, c *sqlite.Conn) (bool, error) {
		due, err := readDue(c, r) // another process may have been faster
		if err != nil || len(due) == 0 {
			return false, err
		}
		for _, seq := range due {
			if err := run(c, deleteAction, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, seq) }); err != nil {
				return false, err
			}
		}
		if err := run(c, raisePurged, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, due[len(due)-1]) }); err != nil {
			return false, err
		}
		purged = len(due)
		if err := s.forgetRunners(f, c, r.Before); err != nil {
			return false, err
		}
		return true, run(c, deleteObservations, func(*sqlite.Stmt) {})
	})
	return purged, err
}

// forgetRunners deletes the runners that no record names and that were not renewed since before, neither
// by a commit nor in their slots.
func (s *Store) forgetRunners(f *file, c *sqlite.Conn, before int64) error {
	type unheard struct {
		id string
		at place
	}
	var all []unheard
	err := each(c, selectUnheard, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, before) }, func(stmt *sqlite.Stmt) {
		all = append(all, unheard{stmt.ColumnText(0), place{stmt.ColumnInt64(1), stmt.ColumnInt64(2)}})
	})
	if err != nil {
		return err
	}
	slots := s.roster.look(f)
	defer slots.done()
	for _, u := range all {
		if slots.see(u.id, u.at).heard >= before {
			continue
		}
		if err := run(c, deleteRunner, func(stmt *sqlite.Stmt) { stmt.BindText(1, u.id) }); err != nil {
			return err
		}
		slots.forget(u.id, u.at)
	}
	return nil
}

// due returns the seqs of the tombstones to delete, without taking the write lock.
func (s *Store) due(ctx context.Context, r store.Retention) (due []int64, err error) {
	err = s.read(ctx, func(c *sqlite.Conn) (err error) {
		due, err = readDue(c, r)
		return err
	})
	return due, err
}

func readDue(c *sqlite.Conn, r store.Retention) (due []int64, err error) {
	err = each(c, selectOldest,
		func(stmt *sqlite.Stmt) { stmt.BindInt64(1, int64(r.Limit)) },
		func(stmt *sqlite.Stmt) {
			if at := stmt.ColumnInt64(1); at < r.Before || at > r.Future {
				due = append(due, stmt.ColumnInt64(0))
			}
		})
	return due, err
}
