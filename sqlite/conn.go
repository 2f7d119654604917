package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
)

// openNoFollow is SQLITE_OPEN_NOFOLLOW. A store opens a path without links (see resolve), so a link in
// it was put there afterwards.
const openNoFollow sqlite.OpenFlags = 0x01000000

// openConn opens a connection that fails at once if a lock is held. A caller that wants to wait for the
// lock uses retryBusy or queue.begin, with a context.
func openConn(ctx context.Context, path string) (*sqlite.Conn, error) {
	c, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, openNoFollow)
	if err != nil {
		return nil, storeError(err)
	}
	c.SetBusyTimeout(0)
	// Another program's file must be recognised before the journal mode is set, because setting it
	// changes the file.
	err = retryBusy(ctx, func() error { return inspect(c) })
	if err == nil {
		err = retryBusy(ctx, func() error { return setUp(c) })
	}
	if err != nil {
		return nil, errors.Join(storeError(err), c.Close())
	}
	return c, nil
}

// recognise refuses a database of another program, or of a newer kapi, that has a WAL because a process
// crashed. It opens the database for reading only: closing a connection that can write empties the WAL.
func recognise(ctx context.Context, path string) error {
	if _, err := os.Lstat(path + "-wal"); err != nil {
		return nil // openConn refuses it just as well, and there is no WAL to lose
	}
	c, err := sqlite.OpenConn(path, sqlite.OpenReadOnly, openNoFollow)
	if err != nil {
		return nil // openConn says why
	}
	c.SetBusyTimeout(0)
	err = retryBusy(ctx, func() error { return inspect(c) })
	if closing := c.Close(); errors.Is(err, kapi.ErrUnavailable) || closing != nil {
		return errors.Join(err, storeError(closing))
	}
	return nil
}

// inspect refuses a file that this version of kapi can't use. It reads in a transaction, so that it
// never sees half of another process's first migration.
func inspect(c *sqlite.Conn) error {
	if err := step(c, "BEGIN"); err != nil {
		return err
	}
	defer rollback(c)
	ours, err := checkOwner(c)
	if ours {
		_, err = missing(c)
	}
	return err
}

func setUp(c *sqlite.Conn) error {
	mode := ""
	err := sqlitex.ExecuteTransient(c, "PRAGMA journal_mode = wal", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			mode = stmt.ColumnText(0)
			return nil
		},
	})
	if err == nil && mode != "wal" { // without shared memory SQLite silently keeps another mode
		err = fmt.Errorf("%w: its file system doesn't support a write-ahead log (journal mode %s)", kapi.ErrUnavailable, mode)
	}
	for _, pragma := range []string{"synchronous = full", "temp_store = memory"} {
		if err == nil {
			err = exec(c, "PRAGMA "+pragma)
		}
	}
	return err
}

// exec runs a statement once and ignores what it returns.
func exec(c *sqlite.Conn, query string) error {
	return sqlitex.ExecuteTransient(c, query, nil)
}

// shortly is how long an error is tolerated if another process may be causing it for a moment.
const shortly = 250 * time.Millisecond

// retryBusy calls f again while it fails because another connection holds a lock, until ctx ends. It also
// retries for a moment (shortly) when the file can't be opened or written to, because another process
// may be creating or removing the files beside the store.
func retryBusy(ctx context.Context, f func() error) error {
	return retryUntil(ctx, nil, f)
}

// The shortest and the longest pause between two tries, and those of a process that has no turn to write.
const (
	firstPause, lastPause       = 500 * time.Microsecond, 10 * time.Millisecond
	firstTurnless, lastTurnless = 50 * time.Millisecond, standstill / 2
)

// retryUntil is retryBusy for a process that has no turn until the channel is closed. It tries less often until then:
// if the turn stands still because the machine has too much to do, many that try make that worse. A nil channel counts
// as closed.
func retryUntil(ctx context.Context, turn <-chan struct{}, f func() error) error {
	began, pauses := time.Now(), backoff.New(firstPause, lastPause)
	if turn != nil {
		pauses = backoff.New(firstTurnless, lastTurnless)
	}
	for {
		err := f()
		switch sqlite.ErrCode(err).ToPrimary() {
		case sqlite.ResultBusy, sqlite.ResultProtocol:
		case sqlite.ResultCantOpen, sqlite.ResultReadOnly:
			if time.Since(began) > shortly {
				return err
			}
		default:
			return err
		}
		pause := pauses.Next()
		if turn != nil {
			pause = pause/2 + rand.N(pause) // so that they don't all try at once
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-turn:
			timer.Stop()
			turn, pauses = nil, backoff.New(firstPause, lastPause)
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// rollback ends the open transaction, if any: after some errors SQLite has already ended it.
func rollback(c *sqlite.Conn) {
	if !c.AutocommitEnabled() {
		_ = step(c, "ROLLBACK")
	}
}

// step runs a cached statement without parameters or results.
func step(c *sqlite.Conn, query string) error {
	stmt, err := c.Prepare(query)
	if err != nil {
		return err
	}
	_, err = stmt.Step()
	return errors.Join(err, stmt.Reset())
}

// storeError says in words what SQLite's code means for the store.
func storeError(err error) error {
	if err == nil || errors.Is(err, kapi.ErrUnavailable) {
		return err // explained already
	}
	var why string
	code := sqlite.ErrCode(err)
	if code == sqlite.ResultIOErrSHMSize {
		code = sqlite.ResultFull // PATH-shm has no room to grow
	}
	switch code.ToPrimary() {
	case sqlite.ResultBusy, sqlite.ResultLocked:
		why = "it is locked by another process"
	case sqlite.ResultProtocol:
		why = "another process keeps its log locked"
	case sqlite.ResultFull:
		why = "the disk is full"
	case sqlite.ResultReadOnly, sqlite.ResultPerm:
		if why = "it is read-only"; code == sqlite.ResultReadOnlyDBMoved {
			why = "it was removed or replaced"
		}
	case sqlite.ResultNotADB:
		why = "it is not a SQLite database"
	case sqlite.ResultCorrupt:
		why = "the SQLite database is damaged"
	case sqlite.ResultCantOpen:
		why = "it can't be opened"
	case sqlite.ResultIOErr:
		why = "reading or writing failed"
	default:
		return fmt.Errorf("%w: %w", kapi.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %s (%w)", kapi.ErrUnavailable, why, err)
}
