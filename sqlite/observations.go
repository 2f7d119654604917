package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

const (
	selectObservation = `SELECT beat, silent, since_boot, awake, held FROM observations WHERE runner = ? AND clock = ?`
	upsertObservation = `INSERT INTO observations (runner, clock, beat, silent, since_boot, awake, held)
		VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (runner, clock) DO UPDATE SET beat = excluded.beat, silent = excluded.silent,
			since_boot = excluded.since_boot, awake = excluded.awake,
			held = excluded.held`
	appendAsked = `UPDATE runners SET asked = substr(asked || ?2, -?3) WHERE id = ?1`
)

// Observed implements store.Store.
func (s *Store) Observed(ctx context.Context, clock string, runners []string) (all []store.Observation, err error) {
	err = s.read(ctx, func(c *sqlite.Conn) error {
		for _, id := range runners {
			err := each(c, selectObservation,
				func(stmt *sqlite.Stmt) {
					stmt.BindText(1, id)
					stmt.BindText(2, clock)
				},
				func(stmt *sqlite.Stmt) {
					all = append(all, store.Observation{
						Runner: id, Clock: clock, Beat: uint64(stmt.ColumnInt64(0)), Silent: time.Duration(stmt.ColumnInt64(1)),
						SinceBoot: time.Duration(stmt.ColumnInt64(2)), Awake: time.Duration(stmt.ColumnInt64(3)),
						Held: stmt.ColumnBool(4),
					})
				})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// Observe implements store.Store.
func (s *Store) Observe(ctx context.Context, seen []store.Observation) error {
	_, err := s.write(ctx, func(c *sqlite.Conn) (bool, error) {
		for _, o := range seen {
			err := run(c, upsertObservation, func(stmt *sqlite.Stmt) {
				stmt.BindText(1, o.Runner)
				stmt.BindText(2, o.Clock)
				stmt.BindInt64(3, int64(o.Beat))
				stmt.BindInt64(4, int64(o.Silent))
				stmt.BindInt64(5, int64(o.SinceBoot))
				stmt.BindInt64(6, int64(o.Awake))
				stmt.BindBool(7, o.Held)
			})
			if err != nil {
				return false, err
			}
		}
		return true, nil
	})
	return err
}

// NoteAsked implements store.Store.
func (s *Store) NoteAsked(ctx context.Context, notes []store.Asked) error {
	_, err := s.write(ctx, func(c *sqlite.Conn) (bool, error) {
		for _, n := range notes {
			err := run(c, appendAsked, func(stmt *sqlite.Stmt) {
				stmt.BindText(1, n.Runner)
				stmt.BindText(2, n.Note)
				stmt.BindInt64(3, store.MaxAsked)
			})
			if err != nil {
				return false, err
			}
		}
		return true, nil
	})
	return err
}
