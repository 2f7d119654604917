package postgres

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kettubot/kapi/internal/store"
)

// loadLight queues what a light batch needs besides the actions that it names: the holders of its keys, and the
// actions that wait for them.
func (s *Store) loadLight(b *pgx.Batch, l *loading, need store.Batch) {
	l.Held = make(map[string]string, len(need.Keys))
	if len(need.Keys) == 0 {
		return
	}
	b.Queue(s.sql.queued, need.Keys).Query(func(rows pgx.Rows) error {
		pending, err := pgx.CollectRows(rows, scanFound)
		l.waits = nil
		for i := range pending {
			// An older build leaves the rows of an action that has begun or ended.
			if r := &pending[i]; r.Waiting() {
				l.waits = append(l.waits, r.Waits...)
				l.add(*r)
			}
		}
		return err
	})
	b.Queue(s.sql.holders, need.Keys).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var key string
			var holder *string
			var data pgtype.DriverBytes
			var defined pgtype.Text
			if err := rows.Scan(&key, &holder, &data, &defined); err != nil {
				return err
			}
			if l.Held[key] = ""; holder == nil {
				continue
			}
			if l.Held[key] = *holder; data == nil { // the holder is a start that is not adopted yet
				continue
			}
			r, err := decodeAll(data, defined)
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
	if l.known == nil {
		l.known = make(map[string]bool, len(l.Found))
		for i := range l.Found {
			l.known[l.Found[i].ID] = true
		}
	}
	if !l.known[r.ID] {
		l.known[r.ID] = true
		l.Found = append(l.Found, r)
	}
}

// wanting adds to a batch the keys that actions wait for and that were not looked up.
func (l *loading) wanting(b store.Batch) store.Batch {
	known := map[string]bool{}
	for _, key := range l.waits {
		if _, looked := l.Held[key]; !looked && !known[key] {
			known[key] = true
			b.Keys = append(b.Keys[:len(b.Keys):len(b.Keys)], key)
		}
	}
	return b
}

// saveQueue queues what keeps the table queue: it has the keys of an action that was queued until it is no
// longer pending.
func (s *Store) saveQueue(b *pgx.Batch, records []store.Record) {
	for i := range records {
		r := &records[i]
		if r.Ticket != 0 && !r.Queued() {
			b.Queue(s.sql.leaveQueue, int64(r.Ticket))
		}
		if len(r.Waits) > 0 {
			b.Queue(s.sql.joinQueue, r.Waits, int64(r.Ticket), r.ID)
		}
	}
}
