package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi/internal/store"
)

// Observed implements store.Store.
func (s *Store) Observed(ctx context.Context, clock string, runners []string) (all []store.Observation, err error) {
	err = s.read(ctx, func(_ *link, b *pgx.Batch) {
		b.Queue(s.sql.observed, clock, runners).Query(func(rows pgx.Rows) error {
			all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (store.Observation, error) {
				o := store.Observation{Clock: clock}
				var beat int64
				err := row.Scan(&o.Runner, &beat, (*int64)(&o.Silent), (*int64)(&o.SinceBoot), (*int64)(&o.Awake))
				o.Beat = uint64(beat)
				return o, err
			})
			return err
		})
	})
	return all, err
}

// Observe implements store.Store. Like Renew it takes neither the lock nor a seq, and doesn't wait for a disk.
func (s *Store) Observe(ctx context.Context, seen []store.Observation) error {
	// Always in the same order, so that two peers never deadlock on each other's rows.
	seen = slices.SortedFunc(slices.Values(seen), func(a, b store.Observation) int {
		return cmp.Or(cmp.Compare(a.Runner, b.Runner), cmp.Compare(a.Clock, b.Clock))
	})
	defer s.endAside()
	return s.useInTime(ctx, s.toRenew, func(l *link) error {
		b := &pgx.Batch{}
		b.Queue(lazily)
		for _, o := range seen {
			b.Queue(s.sql.observe, o.Runner, o.Clock, int64(o.Beat), int64(o.Silent), int64(o.SinceBoot), int64(o.Awake))
		}
		return l.conn.SendBatch(ctx, b).Close()
	})
}

// NoteAsked implements store.Store, in the way of Observe.
func (s *Store) NoteAsked(ctx context.Context, notes []store.Asked) error {
	notes = slices.SortedFunc(slices.Values(notes), func(a, b store.Asked) int { return cmp.Compare(a.Runner, b.Runner) })
	defer s.endAside()
	return s.useInTime(ctx, s.toRenew, func(l *link) error {
		b := &pgx.Batch{}
		b.Queue(lazily)
		for _, n := range notes {
			b.Queue(s.sql.appendAsked, n.Runner, n.Note, store.MaxAsked)
		}
		return l.conn.SendBatch(ctx, b).Close()
	})
}
