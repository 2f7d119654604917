package sqlite

import (
	"context"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/store"
)

const (
	selectSaved = `SELECT name, version, data FROM saved WHERE action = ?`
	upsertSaved = `INSERT INTO saved (action, name, version, data) VALUES (?, ?, ?, ?)
		ON CONFLICT (action, name) DO UPDATE SET version = excluded.version, data = excluded.data`
	deleteSaved  = `DELETE FROM saved WHERE action = ? AND name = ?`
	disposeSaved = `DELETE FROM saved WHERE action = ?`
	moveSaved    = `UPDATE saved SET action = ? WHERE action = ?`

	selectMark = `SELECT saves, version FROM marks WHERE action = ?`
	countSave  = `INSERT INTO marks (action, saves, version) VALUES (?, 1, ?)
		ON CONFLICT (action) DO UPDATE SET saves = saves + 1, version = excluded.version`
	disposeMark = `DELETE FROM marks WHERE action = ?`
	moveMark    = `UPDATE marks SET action = ? WHERE action = ?`

	anySaved = `SELECT EXISTS (SELECT 1 FROM saved WHERE action BETWEEN ?1 AND ?2), EXISTS (SELECT 1 FROM marks WHERE action BETWEEN ?1 AND ?2)`

	// An older build that dismisses or purges an action leaves what is saved for it, and its turn. The names of
	// turns are the only keys that begin with a control character.
	notOngoing    = `NOT EXISTS (SELECT 1 FROM actions WHERE id = action AND status < 4)`
	forgetSaved   = `DELETE FROM saved WHERE ` + notOngoing
	forgetMarks   = `DELETE FROM marks WHERE ` + notOngoing
	freeLeftTurns = `DELETE FROM keys WHERE key >= char(31) AND key < ' ' AND ` + notOngoing
)

// Saved implements store.Store.
func (s *Store) Saved(ctx context.Context, action string) (all []store.Saved, err error) {
	err = s.read(ctx, func(c *sqlite.Conn) error {
		return each(c, selectSaved, func(stmt *sqlite.Stmt) { stmt.BindText(1, action) }, func(stmt *sqlite.Stmt) {
			all = append(all, store.Saved{Action: action, Name: stmt.ColumnText(0), Version: stmt.ColumnInt(1), Data: column(stmt, 2)})
		})
	})
	return all, err
}

func loadMarks(c *sqlite.Conn, actions []string) (map[string]store.CheckpointMark, error) {
	if len(actions) == 0 {
		return nil, nil
	}
	marks := make(map[string]store.CheckpointMark, len(actions))
	for _, id := range actions {
		err := each(c, selectMark, func(stmt *sqlite.Stmt) { stmt.BindText(1, id) }, func(stmt *sqlite.Stmt) {
			marks[id] = store.CheckpointMark{Saves: uint64(stmt.ColumnInt64(0)), Version: stmt.ColumnInt(1)}
		})
		if err != nil {
			return nil, err
		}
	}
	return marks, nil
}

// saveSaved keeps the tables saved and marks.
func saveSaved(c *sqlite.Conn, w store.Writes) error {
	for _, m := range w.Moves {
		for _, query := range []string{moveSaved, moveMark} {
			err := run(c, query, func(stmt *sqlite.Stmt) {
				stmt.BindText(1, m.To)
				stmt.BindText(2, m.From)
			})
			if err != nil {
				return err
			}
		}
	}
	if err := dispose(c, w.Disposed); err != nil {
		return err
	}
	for i := range w.Saved {
		if err := saveOne(c, &w.Saved[i]); err != nil {
			return err
		}
	}
	return nil
}

// dispose deletes what is saved for actions. Most that end have saved nothing, and one look at the range of their ids
// may show that of all of them.
func dispose(c *sqlite.Conn, actions []string) error {
	if len(actions) == 0 {
		return nil
	}
	var queries []string
	err := each(c, anySaved, func(stmt *sqlite.Stmt) {
		stmt.BindText(1, slices.Min(actions))
		stmt.BindText(2, slices.Max(actions))
	}, func(stmt *sqlite.Stmt) {
		if stmt.ColumnBool(0) {
			queries = append(queries, disposeSaved)
		}
		if stmt.ColumnBool(1) {
			queries = append(queries, disposeMark)
		}
	})
	for _, query := range queries {
		for _, id := range actions {
			if err == nil {
				err = run(c, query, func(stmt *sqlite.Stmt) { stmt.BindText(1, id) })
			}
		}
	}
	return err
}

func saveOne(c *sqlite.Conn, saved *store.Saved) error {
	query := upsertSaved
	if saved.Data == nil {
		query = deleteSaved
	}
	err := run(c, query, func(stmt *sqlite.Stmt) {
		stmt.BindText(1, saved.Action)
		stmt.BindText(2, saved.Name)
		if saved.Data != nil {
			stmt.BindInt64(3, int64(saved.Version))
			stmt.BindBytes(4, saved.Data)
		}
	})
	if err != nil || saved.Name == store.ArgumentsName {
		return err
	}
	return run(c, countSave, func(stmt *sqlite.Stmt) {
		stmt.BindText(1, saved.Action)
		stmt.BindInt64(2, int64(saved.Version))
	})
}

// forgetLeft deletes what older builds have left of actions that have ended.
func forgetLeft(c *sqlite.Conn) error {
	for _, query := range []string{forgetSaved, forgetMarks, freeLeftTurns} {
		if err := step(c, query); err != nil {
			return err
		}
	}
	return nil
}
