package sqlite

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/storetest"
)

// TestOtherProgram: another program's database is refused, whatever state it is in, and not a byte of it is
// changed.
func TestOtherProgram(t *testing.T) {
	const table = "CREATE TABLE guests (name TEXT)"
	for name, queries := range map[string][]string{
		"its tables":           {table, "INSERT INTO guests VALUES ('Zoë')"},
		"its tables, WAL":      {"PRAGMA journal_mode = wal", table, "INSERT INTO guests VALUES ('Zoë')"},
		"its id":               {"PRAGMA application_id = 1234", table},
		"its id and no tables": {"PRAGMA application_id = 1234"},
		"its version":          {"PRAGMA user_version = 1", table},
		"UTF-16":               {"PRAGMA encoding = 'UTF-16'", table},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			script(t, path, queries...)
			wantUntouched(t, path, "database of another program")
		})
	}
}

// TestWithoutSecret: a store that lost its secret isn't read: anybody could sign with an empty one.
func TestWithoutSecret(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	script(t, path, "DELETE FROM secrets")
	_, err := s.Snapshot(kapitest.Within(t))
	wantRefusal(t, err, path, "its secret is missing")
}

// wantUntouched checks that a file is refused, and that neither it nor the files beside it are changed.
func wantUntouched(t *testing.T, path, why string) {
	t.Helper()
	before := folderOf(t, path)
	for range 2 {
		wantOpenRefused(t, path, why)
	}
	after := folderOf(t, path)
	for name, data := range before {
		if strings.HasSuffix(name, "-shm") {
			continue // any reader writes a new index
		}
		if got, ok := after[name]; !ok || got != data {
			t.Errorf("%s was changed (still there: %v)", name, ok)
		}
		delete(after, name)
	}
	for name := range after {
		if !strings.HasSuffix(name, "-shm") {
			t.Errorf("%s was created", name)
		}
	}
}

// folderOf reads the files of a store's folder.
func folderOf(t *testing.T, path string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(filepath.Dir(path), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			files[filepath.Base(name)] = string(readFile(t, name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestOtherProgramCrashed: another program's WAL is left as it is, so that the program can recover.
func TestOtherProgramCrashed(t *testing.T) {
	path := leftBehind(t, "PRAGMA journal_mode = wal", "CREATE TABLE guests (name TEXT)",
		"PRAGMA wal_checkpoint", "INSERT INTO guests VALUES ('Zoë')")
	wantUntouched(t, path, "database of another program")
}

// leftBehind returns a database of a program that ended without closing it.
func leftBehind(t *testing.T, queries ...string) (path string) {
	t.Helper()
	running, path := newPath(t), newPath(t)
	c := rawConn(t, running)
	for _, query := range queries {
		if err := sqlitex.ExecuteTransient(c, query, nil); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	for _, end := range []string{"", "-wal"} {
		writeFile(t, path+end, readFile(t, running+end))
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOtherProgramRunning: a database is refused while its program is writing to it, too.
func TestOtherProgramRunning(t *testing.T) {
	for _, mode := range []string{"delete", "wal"} {
		path := newPath(t)
		script(t, path, "PRAGMA journal_mode = "+mode, "CREATE TABLE guests (name TEXT)")
		c := rawConn(t, path)
		for _, query := range []string{"BEGIN IMMEDIATE", "INSERT INTO guests VALUES ('Zoë')"} {
			if err := sqlitex.ExecuteTransient(c, query, nil); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
		wantOpenRefused(t, path, "database of another program")
		if err := sqlitex.ExecuteTransient(c, "COMMIT", nil); err != nil {
			t.Errorf("journal mode %s: the other program's commit: %v", mode, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// nextVersion returns the statement that sets the schema version to the one after this kapi's.
func nextVersion(t testing.TB) string {
	t.Helper()
	steps, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("PRAGMA user_version = %d", len(steps)+1)
}

// TestNewer: a newer kapi's store is refused and left unchanged, whatever the newer kapi changed in it.
func TestNewer(t *testing.T) {
	newer := fmt.Sprintf("PRAGMA application_id = %d", applicationID)
	head := "CREATE TABLE head (epoch, seq, purged, min_report, min_start)"
	wants := "INSERT INTO head VALUES ('e', 1, 0, 99, 99)"
	for name, queries := range map[string][]string{
		"one version on":       {"PRAGMA journal_mode = wal", nextVersion(t)},
		"that says so":         {"PRAGMA journal_mode = wal", nextVersion(t), head, wants},
		"many versions on":     {"PRAGMA journal_mode = wal", "PRAGMA user_version = 2147483647"},
		"another journal mode": {nextVersion(t), "CREATE TABLE news (x)"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			script(t, path, append(queries, newer)...)
			wantUntouched(t, path, "from a newer kapi")
		})
	}
	t.Run("crashed", func(t *testing.T) {
		path := leftBehind(t, "PRAGMA journal_mode = wal", newer, nextVersion(t), "PRAGMA wal_checkpoint",
			"CREATE TABLE news (x)")
		wantUntouched(t, path, "from a newer kapi")
	})
}

// TestNewerWhileOpen: if a newer kapi migrates a store that is open here, its head says what this version may
// still do.
func TestNewerWhileOpen(t *testing.T) {
	path := newPath(t)
	open := func() (store.Store, error) {
		s, err := Open(path)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	steps, err := steps()
	if err != nil {
		t.Fatal(err)
	}
	storetest.Versions(t, open, func(minReport, minStart int) {
		t.Helper()
		n := len(steps)
		script(t, path, fmt.Sprintf("UPDATE head SET min_report = %d, min_start = %d", n+minReport, n+minStart), fmt.Sprintf("PRAGMA user_version = %d", n+1))
	})
}
