package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// TestReplaced: a store whose file is removed or replaced while it is open warns of it, and continues with the
// file that is at its path then, without reusing a seq. Reading creates no file.
func TestReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, path string)
		said   string
		there  bool // there is a file at the path afterwards
		same   bool // it is the same one
		last   string
	}{
		"removed": {func(t *testing.T, path string) {
			must(t, os.Remove(path))
		}, "was removed", false, false, "there is another store at "},
		"removed with all": {func(t *testing.T, path string) {
			removeAll(t, path)
		}, "was removed", false, false, "there is another store at "},
		"folder removed and created again": {func(t *testing.T, path string) {
			must(t, os.RemoveAll(filepath.Dir(path)))
			must(t, os.Mkdir(filepath.Dir(path), 0o700))
		}, "was removed", false, false, "there is another store at "},
		"moved away": {func(t *testing.T, path string) {
			there := path + ".moved"
			rename(t, path, there)
			t.Cleanup(func() { // with all that was written to it
				s := openFor(t, there)
				wantIDs(t, s, "before", "a", "b", "c")
			})
		}, "was removed", false, false, "there is another store at "},
		"replaced by a backup": {func(t *testing.T, path string) {
			writeFile(t, path+".new", readFile(t, path+".backup"))
			rename(t, path+".new", path)
		}, "was replaced by another file", true, false, "there is another store at "},
		"replaced by another store": {func(t *testing.T, path string) {
			other := newPath(t)
			makeStore(t, other, "other")
			removeAll(t, path)
			writeFile(t, path, readFile(t, other))
		}, "was replaced by another file", true, false, "there is another store at "},
		"its log removed": {func(t *testing.T, path string) {
			must(t, os.Remove(path+"-wal"))
		}, "has lost its ", true, true, "is open again"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			makeStore(t, path, "before")
			backup := readFile(t, path)
			var said warnings
			s, err := OpenWith(kapitest.Within(t), path, Options{Warn: said.add})
			if err != nil {
				t.Fatal(err)
			}
			defer closeStore(t, s)
			for _, id := range []string{"a", "b", "c"} {
				mustInsert(t, s, id)
			}
			before := headOf(t, s)
			writeFile(t, path+".backup", backup)
			c.damage(t, path)

			_, err = s.Feed(kapitest.Within(t), before.Seq)
			if _, there := os.Stat(path); !c.there && (!isUnavailable(err) || !strings.Contains(err.Error(), "it was removed or replaced") || there == nil) {
				t.Errorf("reading says %v; the file: %v", err, there)
			}
			seq := mustInsert(t, s, "after")
			if after := headOf(t, s); !c.same && (after.Epoch == before.Epoch || seq <= before.Seq+store.Ahead) || c.same && seq != before.Seq+1 {
				t.Errorf("the head became %v, was %v", after, before)
			}
			wantSame(t, headOf(t, openFor(t, path)), headOf(t, s))
			got := said.all()
			if len(got) != 2 || !strings.HasPrefix(got[0], "the store "+path+" "+c.said) || !strings.Contains(got[1], c.last) {
				t.Errorf("it warned of %q", got)
			}
		})
	}
}

// TestReplacedByALink: if a link comes to lead to another store, that store is used.
func TestReplacedByALink(t *testing.T) {
	first, second := newPath(t), newPath(t)
	makeStore(t, first)
	makeStore(t, second, "there")
	link := filepath.Join(t.TempDir(), "kapi.db")
	must(t, os.Symlink(first, link))
	s, err := OpenWith(kapitest.Within(t), link, Options{Warn: func(string) {}})
	must(t, err)
	defer closeStore(t, s)
	must(t, os.Symlink(second, link+".new"))
	rename(t, link+".new", link)
	wantIDs(t, s, "there")
}

// TestNothingThere: while no file can be created, writes are refused, and the store warns once. It works again
// when the folder is back.
func TestNothingThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "kapi.db")
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	var said warnings
	s, err := OpenWith(kapitest.Within(t), path, Options{Warn: said.add})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	mustInsert(t, s, "a")
	must(t, os.RemoveAll(filepath.Dir(path)))
	for range 3 {
		_, err := insert(kapitest.Within(t), s, "b")
		wantRefusal(t, err, path, "no such file or directory")
		_, err = s.Feed(kapitest.Within(t), 0)
		wantRefusal(t, err, path, "it was removed or replaced")
	}
	if got := said.all(); len(got) != 2 || !strings.Contains(got[1], "is not recorded until") {
		t.Errorf("it warned of %q", got)
	}
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	mustInsert(t, s, "c")
	if got := said.all(); len(got) != 1 || !strings.Contains(got[0], "there is another store at ") {
		t.Errorf("it warned of %q", got)
	}
}

// TestReplacedWhileWaiting: if a file is replaced while a commit waits for its lock, the commit writes to the new
// file, and nothing to the old one.
func TestReplacedWhileWaiting(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	mustInsert(t, s, "a")
	other := startChild(t, "lock", path)
	other.expect("locked")
	done := make(chan error, 1)
	go func() {
		_, err := insert(kapitest.Within(t), s, "b")
		done <- err
	}()
	kapitest.Eventually(t, "it waits", func() bool { return len(s.now().writer) == 0 })
	must(t, os.Rename(path, path+".old"))
	other.end()
	if err := kapitest.Receive(t, done, "the commit"); err != nil {
		t.Errorf("the commit: %v", err)
	}
	wantIDs(t, openFor(t, path), "b")
}

func removeAll(t *testing.T, path string) {
	t.Helper()
	for _, end := range []string{"", "-wal", "-shm", "-wake", "-runners"} {
		if err := os.Remove(path + end); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestReplacedBesideALog: if a file is put at the path of one that a process has open, that file's log is beside
// it. Opening the new file waits until the process has closed the old one, and doesn't use the old log.
func TestReplacedBesideALog(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, other, path string){
		"moved": func(t *testing.T, other, path string) { rename(t, other, path) },
		"created again": func(t *testing.T, other, path string) {
			must(t, os.Remove(path))
			writeFile(t, path, readFile(t, other))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, other := newPath(t), newPath(t)
			makeStore(t, other, "there")
			before := startChild(t, "committer", path)
			before.expect("ready")
			before.send("go")
			before.hear()
			before.send("here")
			before.expect("1")
			put(t, other, path)

			ctx, cancel := context.WithTimeout(kapitest.Within(t), 20*time.Millisecond)
			defer cancel()
			_, err := OpenContext(ctx, path)
			wantRefusal(t, err, path, fmt.Sprintf("it was put there while pid %d (", before.cmd.Process.Pid))
			opened := make(chan *Store, 1)
			go func() {
				s, err := Open(path)
				if err != nil {
					t.Error(err)
				}
				opened <- s
			}()
			before.send("") // it notices when it reads
			before.expect("1")
			s := kapitest.Receive(t, opened, "Open")
			if s == nil {
				return
			}
			defer closeStore(t, s)
			wantIDs(t, s, "there")
			before.send("more")
			before.expect("2")
			wantIDs(t, s, "there", "more")
			before.end()
		})
	}
}

// However many callers find that the file was removed, there is one warning.
func TestRemovedIsSaidOnce(t *testing.T) {
	path := newPath(t)
	var said warnings
	s, err := OpenWith(kapitest.Within(t), path, Options{Warn: said.add})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	s.opening <- struct{}{}
	removeAll(t, path)
	const callers = 10
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			if _, err := s.Snapshot(kapitest.Within(t)); err == nil {
				t.Error("a snapshot of nothing")
			}
		})
	}
	kapitest.Eventually(t, "all have seen that it is gone", func() bool {
		stacks := make([]byte, 1<<20)
		return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("sqlite.(*Store).current(")) == callers
	})
	<-s.opening
	all.Wait()
	if text := strings.Join(said.all(), "; "); strings.Count(text, "was removed") != 1 {
		t.Errorf("it says %q", text)
	}
}
