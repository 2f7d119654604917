package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/store"
)

// Saved implements store.Store.
func (s *Store) Saved(ctx context.Context, action string) (all []store.Saved, err error) {
	err = s.read(ctx, func(_ *link, b *pgx.Batch) {
		b.Queue(s.sql.saved, action).Query(func(rows pgx.Rows) (err error) {
			all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Saved, error) {
				saved := store.Saved{Action: action}
				return saved, row.Scan(&saved.Name, &saved.Version, &saved.Data)
			})
			return err
		})
	})
	return all, err
}

// loadMarks queues the read of the marks that a batch wants.
func (s *Store) loadMarks(b *pgx.Batch, l *loading, actions []string) {
	if len(actions) == 0 {
		return
	}
	b.Queue(s.sql.marks, actions).Query(func(rows pgx.Rows) error {
		l.Marks = make(map[string]store.CheckpointMark, len(actions))
		var id string
		var saves int64
		var version int
		_, err := pgx.ForEachRow(rows, []any{&id, &saves, &version}, func() error {
			l.Marks[id] = store.CheckpointMark{Saves: uint64(saves), Version: version}
			return nil
		})
		return err
	})
}

// saveSaved queues what keeps the tables saved and marks.
func (s *Store) saveSaved(b *pgx.Batch, w *store.Writes) {
	for _, m := range w.Moves {
		b.Queue(s.sql.moveSaved, m.From, m.To)
		b.Queue(s.sql.moveMark, m.From, m.To)
	}
	if len(w.Disposed) > 0 {
		b.Queue(s.sql.disposeSaved, w.Disposed)
		b.Queue(s.sql.disposeMarks, w.Disposed)
	}
	for i := range w.Saved {
		saved := &w.Saved[i]
		if saved.Data == nil {
			b.Queue(s.sql.unsave, saved.Action, saved.Name)
		} else {
			b.Queue(s.sql.save, saved.Action, saved.Name, int64(saved.Version), saved.Data)
		}
		if saved.Name != store.ArgumentsName {
			b.Queue(s.sql.countSave, saved.Action, int64(saved.Version))
		}
	}
}
