package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

const (
	// The oldest tombstones have the lowest seqs. A tombstone that is dated far in the future, because a clock
	// jumped, would never expire, so it is deleted, too (see readDue).
	selectOldest = `SELECT seq, updated_at FROM actions WHERE seq > (SELECT floor FROM head) AND status >= 4 ORDER BY seq LIMIT ?`
	selectFloor  = `SELECT floor, seq FROM head`
	raiseFloor   = `UPDATE head SET floor = ?`
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
	if err != nil || !due.any() {
		return 0, err
	}
	_, err = s.writeIn(ctx, func(f *file, c *sqlite.Conn) (bool, error) {
		due, err := readDue(c, r) // another process may have been faster
		if err != nil || !due.any() {
			return false, err
		}
		for _, seq := range due.seqs {
			if err := run(c, deleteAction, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, seq) }); err != nil {
				return false, err
			}
		}
		if err := run(c, raiseFloor, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, due.floor) }); err != nil {
			return false, err
		}
		if purged = len(due.seqs); purged > 0 {
			if err := run(c, raisePurged, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, due.seqs[purged-1]) }); err != nil {
				return false, err
			}
		}
		if purged == 0 && !due.operations {
			return true, nil
		}
		return true, s.forget(f, c, r)
	})
	return purged, err
}

// forget deletes what belongs to runners that are gone, and to actions that have ended.
func (s *Store) forget(f *file, c *sqlite.Conn, r store.Retention) error {
	if err := s.forgetRunners(f, c, r.Before); err != nil {
		return err
	}
	if err := step(c, deleteObservations); err != nil {
		return err
	}
	if err := purgeOffers(c, r.Offered); err != nil {
		return err
	}
	return forgetLeft(c)
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

// A due is what a purge has to do.
type due struct {
	seqs []int64 // of the tombstones to delete
	// floor is what head.floor can be raised to once they are deleted, and rise by how much.
	floor, rise int64
	// operations is set if an operation was last offered so long ago that it may be forgotten.
	operations bool
}

// farBelow is how far head.floor may be below the oldest tombstone. A purge reads the ongoing actions in
// between.
const farBelow = 2000

func (d due) any() bool { return len(d.seqs) > 0 || d.rise > farBelow || d.operations }

// due returns what a purge has to do, without taking the write lock.
func (s *Store) due(ctx context.Context, r store.Retention) (d due, err error) {
	err = s.read(ctx, func(c *sqlite.Conn) (err error) {
		d, err = readDue(c, r)
		return err
	})
	return d, err
}

func readDue(c *sqlite.Conn, r store.Retention) (d due, err error) {
	var before, head int64
	err = each(c, selectFloor, nil, func(stmt *sqlite.Stmt) { before, head = stmt.ColumnInt64(0), stmt.ColumnInt64(1) })
	if err != nil {
		return d, err
	}
	d.floor = head
	kept, n := int64(0), 0
	err = each(c, selectOldest,
		func(stmt *sqlite.Stmt) { stmt.BindInt64(1, int64(r.Limit)) },
		func(stmt *sqlite.Stmt) {
			seq, at := stmt.ColumnInt64(0), stmt.ColumnInt64(1)
			n++
			switch {
			case at < r.Before || at > r.Future:
				d.seqs = append(d.seqs, seq)
			case kept == 0:
				kept = seq
			}
			if n == r.Limit { // there may be more
				d.floor = seq
			}
		})
	if kept != 0 {
		d.floor = kept - 1
	}
	d.rise = d.floor - before
	if err != nil {
		return d, err
	}
	return d, each(c, selectOldOperation, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, r.Offered) }, func(*sqlite.Stmt) { d.operations = true })
}
