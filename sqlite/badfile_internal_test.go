package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi/internal/kapitest"
)

// TestNotAStore: a file that isn't a SQLite database is refused and left as it was.
func TestNotAStore(t *testing.T) {
	valid := newPath(t)
	makeStore(t, valid, "a")
	header := readFile(t, valid)[:100]
	const notSQLite = "not a SQLite database"
	for name, c := range map[string]struct {
		data []byte
		why  string
	}{
		"short text":        {[]byte("hello\n"), notSQLite},
		"long text":         {bytes.Repeat([]byte("all work and no play\n"), 1000), notSQLite},
		"zeros":             {make([]byte, 8192), notSQLite},
		"a part of a magic": {header[:10], notSQLite},
		"a magic alone":     {header[:16], notSQLite},
		"a part of a head":  {header[:50], "damaged"},
		"a head alone":      {header, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			writeFile(t, path, c.data)
			for range 2 {
				wantOpenRefused(t, path, c.why)
				if !bytes.Equal(readFile(t, path), c.data) {
					t.Fatal("the file was changed")
				}
			}
			wantAlone(t, path)
		})
	}
}

// wantAlone checks that there is nothing beside a file that was refused.
func wantAlone(t *testing.T, path string) {
	t.Helper()
	beside, err := filepath.Glob(path + "-*")
	if err != nil || len(beside) > 0 {
		t.Errorf("beside the file that was refused there is %q (error: %v)", beside, err)
	}
}

func TestEmptyFileBecomesAStore(t *testing.T) {
	path := newPath(t)
	writeFile(t, path, nil)
	s := openFor(t, path)
	mustInsert(t, s, "a")
	wantIDs(t, s, "a")
}

func TestMissingFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "no")
	wantOpenRefused(t, filepath.Join(folder, "such", "kapi.db"), "can't be created: no such file or directory")
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("the folder was made (error: %v)", err)
	}
	inFile := newPath(t)
	writeFile(t, inFile, []byte("text"))
	wantOpenRefused(t, filepath.Join(inFile, "kapi.db"), "not a directory")
}

func TestFolderInsteadOfFile(t *testing.T) {
	path := t.TempDir()
	wantOpenRefused(t, path, "is not a regular file")
	wantAlone(t, path)
}

func TestDanglingLink(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "kapi.db")
	if err := os.Symlink(filepath.Join(folder, "gone.db"), path); err != nil {
		t.Fatal(err)
	}
	wantOpenRefused(t, path, "is a symbolic link to "+filepath.Join(folder, "gone.db")+", which isn't there")
	if left, err := os.ReadDir(folder); err != nil || len(left) != 1 {
		t.Errorf("the folder has %v (error: %v), want the link alone", left, err)
	}
}

// TestLinkToAStore: a file opened by its name and by a link is one store.
func TestLinkToAStore(t *testing.T) {
	folder := t.TempDir()
	path, link := filepath.Join(folder, "kapi.db"), filepath.Join(folder, "link.db")
	a := openFor(t, path)
	if err := os.Symlink("kapi.db", link); err != nil {
		t.Fatal(err)
	}
	b := openFor(t, link)
	if a.Path() != b.Path() || headOf(t, a).Epoch != headOf(t, b).Epoch {
		t.Errorf("two names make two stores: %s, %s", a.Path(), b.Path())
	}
	woken := listen(t, b)
	mustInsert(t, a, "a")
	kapitest.Receive(t, woken, "a wake-up at the other name")
	wantIDs(t, b, "a")
	mustInsert(t, b, "b")
	wantIDs(t, a, "a", "b")
	if beside, err := filepath.Glob(link + "-*"); err != nil || len(beside) > 0 {
		t.Errorf("the link has files of its own: %q (error: %v)", beside, err)
	}
}

// TestDamaged: reading the damaged part of a store fails and says why; the rest can be read.
func TestDamaged(t *testing.T) {
	path := newPath(t)
	makeStore(t, path, "a", "b")
	data := readFile(t, path)
	page := rootPage(t, path, "actions")
	for i := range 4096 {
		data[(page-1)*4096+i] = 0xaa
	}
	writeFile(t, path, data)
	s := openFor(t, path)
	_, err := s.Snapshot(kapitest.Within(t))
	wantRefusal(t, err, path, "the SQLite database is damaged")
	_, err = s.Feed(kapitest.Within(t), 0)
	wantRefusal(t, err, path, "the SQLite database is damaged")
	_, err = insert(kapitest.Within(t), s, "c")
	wantRefusal(t, err, path, "the SQLite database is damaged")
	if tokens, err := s.Tokens(kapitest.Within(t)); err != nil || len(tokens) != 0 {
		t.Errorf("Tokens: %v, %v", tokens, err)
	}
}

// rootPage returns the number of a table's first page.
func rootPage(t *testing.T, path, table string) (page int) {
	t.Helper()
	c := rawConn(t, path)
	err := sqlitex.ExecuteTransient(c, "SELECT rootpage FROM sqlite_schema WHERE name = ?", &sqlitex.ExecOptions{
		Args:       []any{table},
		ResultFunc: func(stmt *sqlite.Stmt) error { page = stmt.ColumnInt(0); return nil },
	})
	if err != nil || page < 2 {
		t.Fatalf("the root page of %s is %d (error: %v)", table, page, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return page
}

// TestCutShort: a store whose end is missing is refused.
func TestCutShort(t *testing.T) {
	path := newPath(t)
	makeStore(t, path, "a")
	data := readFile(t, path)
	writeFile(t, path, data[:4096])
	wantOpenRefused(t, path, "the SQLite database is damaged")
}

// TestTableMissing: without one of its tables, a store says which one is missing.
func TestTableMissing(t *testing.T) {
	for _, table := range []string{"head", "actions"} {
		path := newPath(t)
		makeStore(t, path, "a")
		script(t, path, "DROP TABLE "+table)
		s, err := Open(path)
		if err == nil {
			_, err = s.Snapshot(kapitest.Within(t))
			closeStore(t, s)
		}
		wantRefusal(t, err, path, "no such table: "+table)
	}
}
