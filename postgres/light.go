package postgres

import (
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kettubot/kapi/internal/store"
)

// loadLight queues what a light batch needs besides the actions that it names: the waiting actions, and the
// holders of the keys.
func (s *Store) loadLight(b *pgx.Batch, l *loading, need store.Batch) {
	b.Queue(s.sql.pending).Query(func(rows pgx.Rows) error {
		pending, err := pgx.CollectRows(rows, scanFound)
		l.waits = nil
		for i := range pending {
			if r := &pending[i]; r.Waiting() {
				l.waits = append(l.waits, r.Waits...)
				l.add(*r)
			}
		}
		return err
	})
	l.Held = make(map[string]string, len(need.Keys))
	if len(need.Keys) == 0 {
		return
	}
	b.Queue(s.sql.holders, need.Keys).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var key string
			var holder *string
			var data pgtype.DriverBytes
			if err := rows.Scan(&key, &holder, &data); err != nil {
				return err
			}
			if l.Held[key] = ""; holder == nil {
				continue
			}
			if l.Held[key] = *holder; data == nil { // the holder is a start that is not adopted yet
				continue
			}
			r, err := decode(data)
			if err != nil {
				return err
			}
			l.add(r)
		}
		return rows.Err()
	})
}

// add adds a record to Found, unless it is there already.
func (l *loading) add(r store.Record) {
	if !slices.ContainsFunc(l.Found, func(f store.Record) bool { return f.ID == r.ID }) {
		l.Found = append(l.Found, r)
	}
}

// wanting adds to a batch the keys that actions wait for and that were not looked up.
func (l *loading) wanting(b store.Batch) store.Batch {
	for _, key := range l.waits {
		if !slices.Contains(b.Keys, key) {
			b.Keys = append(b.Keys[:len(b.Keys):len(b.Keys)], key)
		}
	}
	return b
}
