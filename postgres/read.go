package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// Snapshot implements store.Store.
func (s *Store) Snapshot(ctx context.Context) (store.Snapshot, error) {
	s.widen(true)
	return s.snapshot(ctx, s.sql.snapshot)
}

// Some implements store.Store.
func (s *Store) Some(ctx context.Context, ids []string) (store.Snapshot, error) {
	return s.snapshot(ctx, s.sql.some, ids)
}

func (s *Store) snapshot(ctx context.Context, query string, args ...any) (store.Snapshot, error) {
	var snapshot store.Snapshot
	err := s.read(ctx, func(l *link, b *pgx.Batch) {
		b.Queue(query, append([]any{l.cluster}, args...)...).Query(func(rows pgx.Rows) error {
			page, _, err := s.scanPage(rows, 0)
			snapshot.Head, snapshot.Records = page.Head, page.Records
			return err
		})
		b.Queue(s.sql.secret).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&snapshot.Secret)
			if errors.Is(err, pgx.ErrNoRows) {
				err = fmt.Errorf("%w: kapi's table secrets is empty in schema %s: it was restored in part", kapi.ErrUnavailable, s.schema)
			}
			return err
		})
	})
	return snapshot, err
}

// Feed implements store.Store. One statement reads head and records, so they belong together.
func (s *Store) Feed(ctx context.Context, since uint64) (store.Page, error) {
	s.widen(true)
	var page store.Page
	var recorded []string
	err := s.read(ctx, func(l *link, b *pgx.Batch) {
		b.Queue(s.sql.feed, l.cluster, int64(since)).Query(func(rows pgx.Rows) (err error) {
			page, _, err = s.scanPage(rows, since)
			return err
		})
		b.Queue(s.sql.recorded).Query(func(rows pgx.Rows) (err error) {
			recorded, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
	})
	page.Recorded = recorded
	if err == nil && since < page.Purged {
		return page, store.ErrBehind
	}
	return page, err
}

// Runners implements store.Store.
func (s *Store) Runners(ctx context.Context, ids []string) (all []store.RunnerRecord, err error) {
	err = s.read(ctx, func(_ *link, b *pgx.Batch) {
		b.Queue(s.sql.runners, ids).Query(func(rows pgx.Rows) error {
			all, err = pgx.CollectRows(rows, scanRunner)
			return err
		})
	})
	return all, err
}

func scanRunner(row pgx.CollectableRow) (r store.RunnerRecord, err error) {
	var start, lease, beat int64
	err = row.Scan(&r.ID, &r.Host, &r.PID, &r.BootID, &r.PIDNamespace, &start, &lease, &beat, &r.HeardAt, &r.Work, &r.Asked)
	r.StartTime, r.Lease, r.Beat = uint64(start), time.Duration(lease)*time.Millisecond, uint64(beat)
	return r, err
}

// read runs the queries that f queues, in one round trip.
func (s *Store) read(ctx context.Context, f func(*link, *pgx.Batch)) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return s.onTheSpot(ctx, func() error {
		return s.useWhile(ctx, isCrowded, s.toRead, func(l *link) error {
			b := &pgx.Batch{}
			b.Queue("SELECT " + byIndex)
			f(l, b)
			return l.conn.SendBatch(ctx, b).Close()
		})
	})
}

// A loading collects what a write transaction reads.
type loading struct {
	store.Loaded
	err error // why the transaction must not write, although the reads succeeded
	// For a light batch: the keys that actions wait for, and the ids in Found; nil before it is needed.
	waits []string
	known map[string]bool
}

// load queues the reads that a batch needs.
func (s *Store) load(link *link, b *pgx.Batch, need store.Batch) *loading {
	l := &loading{}
	query, args := s.sql.feed, []any{link.cluster, int64(need.Since)}
	if need.Light {
		query, args = s.sql.head, args[:1]
	}
	b.Queue(query, args...).Query(func(rows pgx.Rows) (err error) {
		l.Page, l.NoStarts, err = s.scanPage(rows, need.Since)
		if err == errMoved { //nolint:errorlint // scanPage doesn't wrap it
			l.err, err = err, nil
		} else if err == nil && !need.Light && need.Since < l.Purged {
			l.err = store.ErrBehind
		}
		return err
	})
	if len(need.Find) > 0 {
		b.Queue(s.sql.find, need.Find).Query(func(rows pgx.Rows) (err error) {
			l.Found, err = pgx.CollectRows(rows, scanFound)
			return err
		})
	}
	if need.Light {
		s.loadLight(b, l, need)
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
	s.loadAnswers(b, l, need.Requests)
	s.loadMarks(b, l, need.Marks)
	b.Queue(s.sql.starts).Query(func(rows pgx.Rows) (err error) {
		l.Starts, err = pgx.CollectRows(rows, scanStart)
		return err
	})
	return l
}

// loadAnswers queues the read of the answers that a batch needs.
func (s *Store) loadAnswers(b *pgx.Batch, l *loading, requests []store.Request) {
	if len(requests) == 0 {
		return
	}
	by, keys := make([]string, len(requests)), make([]string, len(requests))
	for i, r := range requests {
		by[i], keys[i] = r.By, r.Key
	}
	b.Queue(s.sql.answers, by, keys).Query(func(rows pgx.Rows) (err error) {
		l.Answers, err = pgx.CollectRows(rows, scanAnswer)
		return err
	})
}

func scanStart(row pgx.CollectableRow) (start store.RecordedStart, err error) {
	var keys, data string
	err = row.Scan(&start.ID, &keys, &data)
	start.Keys, start.Data = strings.Fields(keys), []byte(data)
	return start, err
}

func scanAnswer(row pgx.CollectableRow) (a store.Answer, err error) {
	return a, row.Scan(&a.By, &a.Key, &a.Action, &a.Hash, &a.Body)
}

// pageRoom is the largest number of records for which scanPage allocates memory in advance.
const pageRoom = 1024

// scanPage reads rows of a head or of an action that changed after since. noStarts is the reason why
// this build may start nothing, if it may not.
func (s *Store) scanPage(rows pgx.Rows, since uint64) (page store.Page, noStarts, err error) {
	var seq, purged int64
	var minReport, minStart int
	var goesOn bool
	var data pgtype.DriverBytes
	var defined pgtype.Text
	for rows.Next() {
		if rows.RawValues()[0] != nil {
			if err := rows.Scan(&page.Epoch, &seq, &purged, &goesOn, nil, nil, &minReport, &minStart); err != nil {
				return page, nil, err
			}
			if noStarts, err = s.admit(minReport, minStart); err != nil {
				return page, nil, err
			}
			continue
		}
		if err := rows.Scan(nil, nil, nil, nil, &data, &defined, nil, nil); err != nil {
			return page, nil, err
		}
		r, err := decodeAll(data, defined)
		if err != nil {
			return page, nil, fmt.Errorf("the action with seq %d: %w", rowSeq(rows), err)
		}
		if n := uint64(seq); page.Records == nil && n > since { // there are at most as many records as changes
			page.Records = make([]store.Record, 0, min(n-since, pageRoom))
		}
		page.Records = append(page.Records, r)
	}
	page.Seq, page.Purged = uint64(seq), uint64(purged)
	if err := rows.Err(); err != nil {
		return page, nil, err
	}
	if !goesOn {
		return page, nil, errMoved
	}
	// Sorted here, because the rows mostly come from an index in order already, and the server would sort
	// them again.
	if bySeq := func(a, b store.Record) int { return cmp.Compare(a.Seq, b.Seq) }; !slices.IsSortedFunc(page.Records, bySeq) {
		slices.SortFunc(page.Records, bySeq)
	}
	return page, noStarts, nil
}

// rowSeq returns the seq in the row of an action.
func rowSeq(rows pgx.Rows) (seq int64) {
	_ = rows.Scan(nil, &seq, nil, nil, nil, nil, nil, nil)
	return seq
}

func scanFound(row pgx.CollectableRow) (store.Record, error) {
	var data pgtype.DriverBytes
	var defined pgtype.Text
	if err := row.Scan(&data, &defined); err != nil {
		return store.Record{}, err
	}
	return decodeAll(data, defined)
}

// decodeAll decodes a record from both of its columns.
func decodeAll(data []byte, defined pgtype.Text) (store.Record, error) {
	r, err := decode(data)
	if err == nil && defined.Valid {
		err = store.DecodeDefined(defined.String, &r)
	}
	return r, err
}
