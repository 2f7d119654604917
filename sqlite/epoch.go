package sqlite

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
	"github.com/kettubot/kapi/internal/store"
)

// A history is the head of a file, and where the file was when it was last opened.
type history struct {
	store.Head
	where      // the file in which it took place, and the place of its log
	known bool // false if the file has no history yet
}

func readHistory(c *sqlite.Conn) (h history, err error) {
	err = sqlitex.ExecuteTransient(c, "SELECT epoch, seq, purged, file, place FROM head", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			h.Epoch, h.Seq, h.Purged = stmt.ColumnText(0), uint64(stmt.ColumnInt64(1)), uint64(stmt.ColumnInt64(2))
			h.where = where{stmt.ColumnInt64(3), stmt.ColumnInt64(4)}
			h.known = h.Epoch != ""
			return nil
		},
	})
	if err == nil && h.known {
		err = checkHead(h.Head)
	}
	return h, err
}

// settled reports whether settle would have nothing to write: the history continues in the same place.
func (f *file) settled(h history, last mark) bool {
	return f.goesOn(h, last) && h.place == f.where.place
}

// goesOn reports whether the history continues: it took place in this very file, and was not put back to
// an earlier time. That is so if neither this process nor the wake file (if the store has one) knows a
// later seq, and the wake file has the same epoch.
func (f *file) goesOn(h history, last mark) bool {
	return h.known && h.file == f.where.file && f.known.seq <= h.Seq &&
		(f.wake == nil || last.epoch == h.Epoch && last.seq <= h.Seq)
}

// settle begins a new epoch if the history doesn't continue, and records where the log is now. The new
// epoch begins store.Ahead past the highest seq known, so that fences keep growing.
//
// The wake file is read and written under the write lock, so that it names the new epoch before another
// process can open the file.
func (f *file) settle(ctx context.Context, c *sqlite.Conn) error {
	h, err := readHistory(c)
	if err != nil {
		return err
	}
	if h.place != f.where.place {
		if err := f.checkAlone(ctx); err != nil {
			return err
		}
	}
	now, last := mark{h.Epoch, h.Seq}, f.wake.read()
	begun := !f.goesOn(h, last)
	if begun {
		now = mark{newEpoch(), max(h.Seq, last.seq, f.known.seq)}
		if h.known || now.seq > 0 {
			now.seq += store.Ahead
		}
	}
	const query = `INSERT INTO head (one, purged, epoch, seq, file, place, min_report, min_start) VALUES (1, 0, ?, ?, ?, ?, 1, 1)
		ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, file = excluded.file, place = excluded.place`
	err = sqlitex.ExecuteTransient(c, query, &sqlitex.ExecOptions{Args: []any{now.epoch, int64(now.seq), f.where.file, f.where.place}})
	if err == nil && begun && f.wake != nil {
		f.wake.touch(now)
	}
	return err
}

// checkPair protects a file that may have been put beside the log of another file, which SQLite would
// then use as this file's log. It waits until the processes that have the other file open have closed and
// removed its log.
func (f *file) checkPair(ctx context.Context) error {
	if !pairedLate(f.path) {
		return nil
	}
	for {
		index, err := factsOf(f.path + "-shm")
		if err != nil {
			return nil //nolint:nilerror // no process has a log open
		}
		with := holders(f.path, f.facts, lockShared, lockSharedSize)
		others := holders(f.path+"-shm", index, lockDMS, 1)
		others = slices.DeleteFunc(others, func(pid int) bool { return slices.Contains(with, pid) })
		switch {
		case len(others) == 0:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%w: it was put there while %s had another file open, whose log is still there: end that process first",
				kapi.ErrUnavailable, nameProcess(others[0]))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// between is how long a process that is opening a file may take, on a machine with too much to do, from its lock on the
// file to the one on the log's index.
const between = 2 * time.Second

// checkAlone refuses a file that another process has open under another name or through another folder,
// and therefore with another log. It waits for processes that are opening the file.
func (f *file) checkAlone(ctx context.Context) error {
	index, err := factsOf(f.path + "-shm")
	since, pauses := map[int]time.Time{}, backoff.New(5*time.Millisecond, 100*time.Millisecond)
	for err == nil {
		others := holders(f.path, f.facts, lockShared, lockSharedSize)
		with := holders(f.path+"-shm", index, lockDMS, 1)
		others = slices.DeleteFunc(others, func(pid int) bool { return slices.Contains(with, pid) })
		if len(others) == 0 {
			return nil
		}
		maps.DeleteFunc(since, func(pid int, _ time.Time) bool { return !slices.Contains(others, pid) })
		for _, pid := range others {
			if _, seen := since[pid]; !seen {
				since[pid] = time.Now()
			}
			if time.Since(since[pid]) > between {
				return fmt.Errorf("%w: %s has it open under another name, with a log of its own: use that name, or end that process first",
					kapi.ErrUnavailable, nameProcess(pid))
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: other processes are opening it: %w", kapi.ErrUnavailable, context.Cause(ctx))
		}
		time.Sleep(pauses.Next())
	}
	return nil // the log is not in use yet
}

// makeSecret gives a new store its secret.
func makeSecret(c *sqlite.Conn) error {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return sqlitex.ExecuteTransient(c, "INSERT OR IGNORE INTO secrets (one, signing) VALUES (1, ?)", &sqlitex.ExecOptions{Args: []any{secret}})
}

// epochLength is the length of an epoch that newEpoch makes.
const epochLength = 26

func newEpoch() string { return strings.ToLower(rand.Text()) }
