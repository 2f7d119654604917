package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi"
)

// applicationID marks the file as kapi's ("kapi" in ASCII).
const applicationID = 0x6b617069

//go:embed schema/*.sql
var schema embed.FS

// prepare brings the file to this version's schema and settles its history. If there is nothing to do, it
// neither writes to the file nor waits for the write lock.
func (f *file) prepare(ctx context.Context, c *sqlite.Conn) error {
	steps, err := steps()
	f.schema = int64(len(steps))
	if err != nil {
		return err
	}
	var ready bool
	err = retryBusy(ctx, func() (err error) {
		ready, err = f.isReady(c)
		return err
	})
	if err == nil && !ready {
		err = f.migrate(ctx, c)
	}
	return storeError(err)
}

func (f *file) isReady(c *sqlite.Conn) (ready bool, err error) {
	last := f.wake.read() // before reading the history, which other processes may advance meanwhile
	if err := step(c, "BEGIN"); err != nil {
		return false, err
	}
	defer rollback(c)
	return f.looksReady(c, last)
}

// looksReady is isReady inside a transaction. last is the mark that the wake file had before it began.
func (f *file) looksReady(c *sqlite.Conn, last mark) (bool, error) {
	ours, err := checkOwner(c)
	if err != nil || !ours {
		return false, err
	}
	steps, err := missing(c)
	if err != nil || len(steps) > 0 {
		return false, err
	}
	h, err := readHistory(c)
	return f.settled(h, last), err
}

// migrate brings the file to this version's schema and settles its history, in one transaction.
func (f *file) migrate(ctx context.Context, c *sqlite.Conn) (err error) {
	turns := f.wake.turns()
	defer turns.leave()
	if err := turns.begin(ctx, c); err != nil {
		return err
	}
	defer rollback(c)
	if ready, err := f.looksReady(c, f.wake.read()); err != nil || ready {
		return err // another process was faster
	}
	ours, err := checkOwner(c)
	if err != nil {
		return err
	}
	if !ours {
		if err := exec(c, fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return err
		}
	}
	steps, err := missing(c)
	if err != nil {
		return err
	}
	for _, name := range steps {
		if err := runScript(c, name); err != nil {
			return fmt.Errorf("migrate with %s: %w", name, storeError(err))
		}
	}
	if err := f.settle(ctx, c); err != nil {
		return err
	}
	if err := makeSecret(c); err != nil {
		return err
	}
	return step(c, "COMMIT")
}

// steps returns the names of the schema's steps, in order.
func steps() ([]string, error) { return fs.Glob(schema, "schema/*.sql") }

// missing returns the names of the steps that bring the file to this version's schema. A file with a newer
// schema needs none. It is refused unless its head says that this version may still report in it.
func missing(c *sqlite.Conn) ([]string, error) {
	steps, err := steps()
	if err != nil {
		return nil, err
	}
	version, err := pragma(c, "user_version")
	known := int64(len(steps))
	switch {
	case err != nil:
		return nil, err
	case version < 0:
		return nil, tooNew(version, known)
	case version <= known:
		return steps[version:], nil
	}
	if h, err := readHead(c); err != nil || h.minReport > known {
		return nil, tooNew(version, known)
	}
	return nil, nil
}

// tooNew returns the error for a file that this version must not touch.
func tooNew(version, known int64) error {
	return fmt.Errorf("%w: it is from a newer kapi (schema %d, this one knows %d)", kapi.ErrUnavailable, version, known)
}

// errOtherProgram is returned for a file with another program's application id, or with tables and no id.
var errOtherProgram = fmt.Errorf("%w: it is the SQLite database of another program", kapi.ErrUnavailable)

// checkOwner refuses another program's database. ours is false for an empty database.
func checkOwner(c *sqlite.Conn) (ours bool, err error) {
	id, err := pragma(c, "application_id")
	if err != nil || id == applicationID {
		return err == nil, err
	}
	var tables int
	err = sqlitex.ExecuteTransient(c, "SELECT count(*) FROM sqlite_schema", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			tables = stmt.ColumnInt(0)
			return nil
		},
	})
	if err == nil && (id != 0 || tables > 0) {
		err = errOtherProgram
	}
	return false, err
}

func pragma(c *sqlite.Conn, name string) (value int64, err error) {
	err = sqlitex.ExecuteTransient(c, "PRAGMA "+name, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			value = stmt.ColumnInt64(0)
			return nil
		},
	})
	return value, err
}

func runScript(c *sqlite.Conn, name string) error {
	script, err := schema.ReadFile(name)
	if err != nil {
		return err
	}
	text := string(script)
	there, err := hasColumn(c, "head", "place")
	if err == nil && there { // a build between two versions has added these columns already
		text = addsToHead.ReplaceAllString(text, "")
	}
	return errors.Join(err, sqlitex.ExecScript(c, text))
}

// addsToHead matches the statements that add columns to head, for which SQLite has no IF NOT EXISTS.
var addsToHead = regexp.MustCompile(`(?m)^ALTER TABLE head ADD COLUMN (place|min_report|min_start) .*;$`)

func hasColumn(c *sqlite.Conn, table, column string) (there bool, err error) {
	err = sqlitex.ExecuteTransient(c, "SELECT 1 FROM pragma_table_info(?) WHERE name = ?", &sqlitex.ExecOptions{
		Args:       []any{table, column},
		ResultFunc: func(*sqlite.Stmt) error { there = true; return nil },
	})
	return there, err
}
