package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

const (
	selectHead = `SELECT epoch, seq, purged, min_report, min_start FROM head`

	selectOngoing = `SELECT ` + columns + ` FROM actions WHERE status < 4`
	selectSince   = `SELECT ` + columns + ` FROM actions WHERE seq > ? ORDER BY seq`
	selectQueue   = `SELECT action FROM queue WHERE key = ?`
	selectHolder  = `SELECT action FROM keys WHERE key = ?`
	selectOne     = `SELECT ` + columns + ` FROM actions WHERE id = ?`
	selectBeat    = `SELECT beat, slot, slot_file FROM runners WHERE id = ?`
	// selectAnyQueue reads a row if an action waits for a key.
	selectAnyQueue = `SELECT 1 FROM queue LIMIT 1`
	selectSecret   = `SELECT signing FROM secrets`
	selectRunner   = `SELECT id, host, pid, boot_id, pid_namespace, start_time, lease_ms, beat, heard_at, work,
		slot, slot_file, slot_lease_ms, asked FROM runners WHERE id = ?`
)

// Snapshot implements store.Store.
func (s *Store) Snapshot(ctx context.Context) (store.Snapshot, error) {
	return s.snapshot(ctx, func(c *sqlite.Conn) ([]store.Record, error) { return readRecords(c, selectOngoing, nil) })
}

// Some implements store.Store.
func (s *Store) Some(ctx context.Context, ids []string) (store.Snapshot, error) {
	return s.snapshot(ctx, func(c *sqlite.Conn) ([]store.Record, error) {
		all, err := readByID(c, ids)
		return slices.DeleteFunc(all, func(r store.Record) bool { return !r.Status.Ongoing() }), err
	})
}

func (s *Store) snapshot(ctx context.Context, records func(*sqlite.Conn) ([]store.Record, error)) (store.Snapshot, error) {
	snapshot := store.Snapshot{OneMachine: true}
	err := s.read(ctx, func(c *sqlite.Conn) (err error) {
		h, err := readHead(c)
		if err != nil {
			return err
		}
		snapshot.Head = h.Head
		if snapshot.Records, err = records(c); err != nil {
			return err
		}
		err = each(c, selectSecret, nil, func(stmt *sqlite.Stmt) {
			snapshot.Secret = column(stmt, 0)
		})
		if err == nil && len(snapshot.Secret) == 0 { // anybody could sign with an empty key
			err = fmt.Errorf("%w: its secret is missing: something other than kapi has changed it", kapi.ErrUnavailable)
		}
		return err
	})
	return snapshot, err
}

// Feed implements store.Store.
func (s *Store) Feed(ctx context.Context, since uint64) (store.Page, error) {
	var page store.Page
	err := s.read(ctx, func(c *sqlite.Conn) (err error) {
		page, err = readFeed(c, since)
		return err
	})
	return page, err
}

// Runners implements store.Store.
func (s *Store) Runners(ctx context.Context, ids []string) ([]store.RunnerRecord, error) {
	var rows runnerRows
	err := s.read(ctx, func(c *sqlite.Conn) error {
		for _, id := range ids {
			if err := rows.add(c, id); err != nil {
				return err
			}
		}
		return nil
	})
	s.sight(&rows)
	return rows.all, err
}

// runnerRows are rows of the table runners, and the places of the runners' slots.
type runnerRows struct {
	all    []store.RunnerRecord
	places []place
}

// add reads the row of a runner, if there is one.
func (r *runnerRows) add(c *sqlite.Conn, id string) error {
	return each(c, selectRunner, func(stmt *sqlite.Stmt) { stmt.BindText(1, id) }, func(stmt *sqlite.Stmt) {
		r.all = append(r.all, scanRunner(stmt))
		r.places = append(r.places, place{stmt.ColumnInt64(10), stmt.ColumnInt64(11)})
	})
}

// sight adds to the runners what their slots show.
func (s *Store) sight(rows *runnerRows) {
	slots := s.roster.look(s.now())
	defer slots.done()
	for i := range rows.all {
		r := &rows.all[i]
		seen := slots.see(r.ID, rows.places[i])
		r.Pulse = store.Pulse{Slot: rows.places[i].number, File: rows.places[i].file, Beat: r.Beat}
		r.Beat += seen.beat
		r.HeardAt = max(r.HeardAt, seen.heard)
		r.Lock, r.Working = seen.lock, seen.working
	}
}

func scanRunner(stmt *sqlite.Stmt) store.RunnerRecord {
	lease := stmt.ColumnInt64(6)
	if slotLease := stmt.ColumnInt64(12); slotLease != 0 {
		lease = slotLease
	}
	return store.RunnerRecord{
		ID: stmt.ColumnText(0), Host: stmt.ColumnText(1), PID: stmt.ColumnInt(2),
		BootID: stmt.ColumnText(3), PIDNamespace: stmt.ColumnText(4), StartTime: uint64(stmt.ColumnInt64(5)),
		Lease: time.Duration(lease) * time.Millisecond,
		Beat:  uint64(stmt.ColumnInt64(7)), HeardAt: stmt.ColumnInt64(8), Work: stmt.ColumnText(9),
		Asked: stmt.ColumnText(13),
	}
}

// read calls f inside a read transaction, so that f sees one state of the database. f must be quick: a
// long transaction would keep the WAL from being reused.
func (s *Store) read(ctx context.Context, f func(*sqlite.Conn) error) error {
	file, c, give, err := s.borrow(ctx, false, true)
	if err != nil {
		return err
	}
	defer give()
	// BEGIN takes no lock yet; the first query, in admit, does.
	err = retryBusy(ctx, func() error {
		rollback(c)
		err := step(c, "BEGIN")
		if err == nil {
			_, err = file.admit(c)
		}
		return err
	})
	defer rollback(c)
	if err == nil {
		err = f(c)
	}
	return s.fail(err)
}

// admit reads the head. It refuses a file if a newer kapi has migrated it so that this version must not write to it
// any more.
func (f *file) admit(c *sqlite.Conn) (headRow, error) {
	h, err := readHead(c)
	if err == nil && h.minReport > f.schema {
		err = tooNew(h.minReport, f.schema)
	}
	return h, err
}

// fail adds to an error the store's path and what SQLite's code means. It leaves ErrBehind and ErrKeyTaken
// unchanged.
func (s *Store) fail(err error) error {
	switch {
	case err == nil, errors.Is(err, store.ErrBehind), errors.Is(err, store.ErrKeyTaken):
		return err
	case s.path == "":
		return storeError(err)
	default:
		return fmt.Errorf("store %s: %w", s.path, lockedBy(s.path, storeError(err)))
	}
}

// A headRow is the head, with the lowest schema versions that may report, and start actions.
type headRow struct {
	store.Head
	minReport, minStart int64
}

func readHead(c *sqlite.Conn) (h headRow, err error) {
	err = each(c, selectHead, nil, func(stmt *sqlite.Stmt) {
		h.Head = store.Head{
			Epoch: stmt.ColumnText(0), Seq: uint64(stmt.ColumnInt64(1)), Purged: uint64(stmt.ColumnInt64(2)),
		}
		h.minReport, h.minStart = stmt.ColumnInt64(3), stmt.ColumnInt64(4)
	})
	if err == nil {
		err = checkHead(h.Head)
	}
	return h, err
}

func readFeed(c *sqlite.Conn, since uint64) (page store.Page, err error) {
	h, err := readHead(c)
	if page.Head = h.Head; err != nil {
		return page, err
	}
	switch {
	case since < page.Purged:
		return page, store.ErrBehind
	case since < page.Seq:
		page.Records, err = readRecords(c, selectSince, func(stmt *sqlite.Stmt) { stmt.BindInt64(1, int64(since)) })
	}
	return page, err
}

func readByID(c *sqlite.Conn, ids []string) (all []store.Record, err error) {
	for _, id := range ids {
		found, err := readRecords(c, selectOne, func(stmt *sqlite.Stmt) { stmt.BindText(1, id) })
		if err != nil {
			return all, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func readRecords(c *sqlite.Conn, query string, bind func(*sqlite.Stmt)) (all []store.Record, err error) {
	var unreadable error
	err = each(c, query, bind, func(stmt *sqlite.Stmt) {
		r, err := scanRecord(stmt)
		all, unreadable = append(all, r), cmp.Or(unreadable, err)
	})
	return all, cmp.Or(err, unreadable)
}

// isEmpty reports whether a query has no rows.
func isEmpty(c *sqlite.Conn, query string) (empty bool, err error) {
	empty = true
	err = each(c, query, nil, func(*sqlite.Stmt) { empty = false })
	return empty, err
}

// each runs a cached query and calls f on every row.
func each(c *sqlite.Conn, query string, bind, f func(*sqlite.Stmt)) error {
	stmt, err := c.Prepare(query)
	if err != nil {
		return err
	}
	if bind != nil {
		bind(stmt)
	}
	for {
		row, err := stmt.Step()
		if err != nil || !row {
			return errors.Join(err, stmt.Reset())
		}
		f(stmt)
	}
}
