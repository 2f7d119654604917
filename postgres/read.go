package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi"
)

// Snapshot implements kapi.Store.
func (s *Store) Snapshot(ctx context.Context) (kapi.Snapshot, error) {
	var snapshot kapi.Snapshot
	err := s.read(ctx, func(l *link, b *pgx.Batch) {
		b.Queue(s.sql.snapshot, l.cluster).Query(func(rows pgx.Rows) error {
			page, err := scanPage(rows)
			snapshot.Head, snapshot.Records = page.Head, page.Records
			return err
		})
		b.Queue(s.sql.secret).QueryRow(func(row pgx.Row) error { return row.Scan(&snapshot.Secret) })
	})
	return snapshot, err
}

// Feed implements kapi.Store. Head and records are read by one statement, so they belong together.
func (s *Store) Feed(ctx context.Context, since uint64) (kapi.Page, error) {
	var page kapi.Page
	var recorded []string
	err := s.read(ctx, func(l *link, b *pgx.Batch) {
		b.Queue(s.sql.feed, l.cluster, int64(since)).Query(func(rows pgx.Rows) (err error) {
			page, err = scanPage(rows)
			return err
		})
		b.Queue(s.sql.recorded).Query(func(rows pgx.Rows) (err error) {
			recorded, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
	})
	page.Recorded = recorded
	if err == nil && since < page.Purged {
		return page, kapi.ErrBehind
	}
	return page, err
}

// Runners implements kapi.Store.
func (s *Store) Runners(ctx context.Context, ids []string) (all []kapi.RunnerRecord, err error) {
	err = s.read(ctx, func(_ *link, b *pgx.Batch) {
		b.Queue(s.sql.runners, ids).Query(func(rows pgx.Rows) error {
			all, err = pgx.CollectRows(rows, scanRunner)
			return err
		})
	})
	return all, err
}

func scanRunner(row pgx.CollectableRow) (r kapi.RunnerRecord, err error) {
	var start, lease, beat int64
	err = row.Scan(&r.ID, &r.Host, &r.PID, &r.BootID, &r.PIDNamespace, &start, &lease, &beat, &r.HeardAt)
	r.StartTime, r.Lease, r.Beat = uint64(start), time.Duration(lease)*time.Millisecond, uint64(beat)
	return r, err
}

// read reads what f queues, in one round trip.
func (s *Store) read(ctx context.Context, f func(*link, *pgx.Batch)) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return s.onTheSpot(ctx, func() error {
		return s.use(ctx, s.reader, func(l *link) error {
			b := &pgx.Batch{}
			b.Queue("SELECT " + byIndex)
			f(l, b)
			return l.conn.SendBatch(ctx, b).Close()
		})
	})
}

// A loading is what a write transaction is reading.
type loading struct {
	kapi.Loaded
	err error // decides the transaction, not the connection
}

// load queues what a batch needs.
func (s *Store) load(link *link, b *pgx.Batch, need kapi.Batch) *loading {
	l := &loading{}
	b.Queue(s.sql.feed, link.cluster, int64(need.Since)).Query(func(rows pgx.Rows) (err error) {
		l.Page, err = scanPage(rows)
		if err == errMoved { //nolint:errorlint // it is its own
			l.err, err = err, nil
		} else if err == nil && need.Since < l.Purged {
			l.err = kapi.ErrBehind
		}
		return err
	})
	if len(need.Find) > 0 {
		b.Queue(s.sql.find, need.Find).Query(func(rows pgx.Rows) (err error) {
			l.Found, err = pgx.CollectRows(rows, scanFound)
			return err
		})
	}
	if len(need.Runners) > 0 {
		b.Queue(s.sql.beats, need.Runners).Query(func(rows pgx.Rows) error {
			l.Beats = make(map[string]uint64, len(need.Runners))
			var id string
			var beat int64
			_, err := pgx.ForEachRow(rows, []any{&id, &beat}, func() error {
				l.Beats[id] = uint64(beat)
				return nil
			})
			return err
		})
	}
	if len(need.Requests) > 0 {
		by, keys := make([]string, len(need.Requests)), make([]string, len(need.Requests))
		for i, r := range need.Requests {
			by[i], keys[i] = r.By, r.Key
		}
		b.Queue(s.sql.answers, by, keys).Query(func(rows pgx.Rows) (err error) {
			l.Answers, err = pgx.CollectRows(rows, scanAnswer)
			return err
		})
	}
	b.Queue(s.sql.starts).Query(func(rows pgx.Rows) (err error) {
		l.Starts, err = pgx.CollectRows(rows, scanStart)
		return err
	})
	return l
}

func scanStart(row pgx.CollectableRow) (start kapi.RecordedStart, err error) {
	var keys, data string
	err = row.Scan(&start.ID, &keys, &data)
	start.Keys, start.Data = strings.Fields(keys), []byte(data)
	return start, err
}

func scanAnswer(row pgx.CollectableRow) (a kapi.Answer, err error) {
	return a, row.Scan(&a.By, &a.Key, &a.Action, &a.Hash, &a.Body)
}

// headColumns is how many stand before those of an action.
const headColumns = 4

// scanPage reads rows of a head and an action; there is one row without an action if there is no
// action at all.
func scanPage(rows pgx.Rows) (page kapi.Page, err error) {
	var scan scanner
	var seq, purged int64
	var goesOn bool
	head := append([]any{&page.Epoch, &seq, &purged, &goesOn}, scan.columns()...)
	for rows.Next() {
		if rows.RawValues()[headColumns] == nil {
			clear(head[headColumns:]) // skips them
		}
		if err := rows.Scan(head...); err != nil {
			return page, err
		}
		if head[headColumns] != nil {
			page.Records = append(page.Records, scan.record())
		}
	}
	page.Seq, page.Purged = uint64(seq), uint64(purged)
	if err := rows.Err(); err != nil {
		return page, err
	}
	if !goesOn {
		return page, errMoved
	}
	return page, nil
}

func scanFound(row pgx.CollectableRow) (kapi.Record, error) {
	var scan scanner
	if err := row.Scan(scan.columns()...); err != nil {
		return kapi.Record{}, err
	}
	return scan.record(), nil
}

// A scanner reads the columns of an action.
type scanner struct {
	r                          kapi.Record
	seq, status, fence, ticket int64
	flags                      int64
	keys, waits                string
	runner                     *string
	host                       string
	pid                        int
	heardAt                    int64
}

// columns are where the values go, in their order.
func (s *scanner) columns() []any {
	r := &s.r
	return []any{
		&r.ID, &s.seq, &s.status, &r.Progress, &r.State, &s.keys, &r.UpdatedAt, &r.StartedAt,
		&s.runner, &s.host, &s.pid, &s.heardAt, &r.CancelRequestedAt, &r.CancelledBy, &r.ExitCode,
		&s.fence, &s.flags, &r.Silence, &s.waits, &s.ticket, &r.Title, &r.Description, &r.CreatedAt,
	}
}

// record is what was read last.
func (s *scanner) record() kapi.Record {
	r := s.r
	r.Seq, r.Status, r.Fence, r.Ticket = uint64(s.seq), kapi.Status(s.status), uint64(s.fence), uint64(s.ticket)
	r.Keys = strings.Fields(s.keys)
	if s.waits != "" {
		r.Waits = strings.Fields(s.waits)
	}
	if s.runner != nil {
		r.Runner = &kapi.Runner{ID: *s.runner, Host: s.host, PID: s.pid, HeardAt: s.heardAt}
	}
	r.ReleaseOnFailure = s.flags&flagReleaseOnFailure != 0
	r.GivenUp = s.flags&flagGivenUp != 0
	r.LateEnd = s.flags&flagLateEnd != 0
	r.LeaveRunning = s.flags&flagLeaveRunning != 0
	r.DismissFailed = s.flags&flagDismissFailed != 0
	return r
}
