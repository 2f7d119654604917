package sqlite

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// TestPlantedSides: anything that somebody has put at the path of a side file is refused at once, and named in the
// error. It is not followed, read or written to.
func TestPlantedSides(t *testing.T) {
	for kind, plant := range map[string]struct {
		why string
		at  func(side, victim string) error
	}{
		"link":          {"is a symbolic link", func(side, victim string) error { return os.Symlink(victim, side) }},
		"dangling link": {"is a symbolic link", func(side, victim string) error { return os.Symlink(victim+".new", side) }},
		"hard link":     {"has 2 names", func(side, victim string) error { return os.Link(victim, side) }},
		"pipe":          {"is a named pipe", func(side, _ string) error { return unix.Mkfifo(side, 0o666) }},
		"folder":        {"is a directory", func(side, _ string) error { return os.Mkdir(side, 0o700) }},
		"socket": {"is a socket", func(side, _ string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: side})
			if err == nil {
				l.SetUnlinkOnClose(false)
				err = l.Close()
			}
			return err
		}},
	} {
		for _, end := range []string{"-wake", "-runners", "-wal", "-shm", "-journal"} {
			t.Run(kind+end, func(t *testing.T) {
				folder, err := os.MkdirTemp("", "side") // the name of a socket must be short
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = os.RemoveAll(folder) })
				path, victim := filepath.Join(folder, "k.db"), filepath.Join(folder, "victim")
				head := makeStore(t, path, "a")
				writeFile(t, victim, []byte("precious"))
				if err := os.Remove(path + end); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				if err := plant.at(path+end, victim); err != nil {
					t.Fatal(err)
				}
				wantOpenRefused(t, path, path+end+": "+plant.why)
				if got := string(readFile(t, victim)); got != "precious" {
					t.Errorf("the other file has become %q", got)
				}
				if _, err := os.Lstat(victim + ".new"); err == nil {
					t.Error("a file was created at the target of a link")
				}
				if err := os.Remove(path + end); err != nil {
					t.Fatal(err)
				}
				if got := reopened(t, path); end != "-wake" && got != head {
					t.Errorf("without it the head became %v, was %v", got, head)
				}
			})
		}
	}
}

// asRoot fails a test that needs files of several users, unless root runs it.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test gives files to several users: run it as root")
	}
}

// TestForeignSides: a side file is refused if it belongs to root, or to a user who may not write to the store.
func TestForeignSides(t *testing.T) {
	asRoot(t)
	const owner, group, stranger = 60001, 60002, 60003
	for _, c := range []struct {
		mode     os.FileMode // of the store
		uid, gid int         // of the file beside it
		why      string
	}{
		{0o600, owner, group, ""},
		{0o600, 0, 0, "belongs to user 0"}, // root may have it open for writing
		{0o600, stranger, stranger, "belongs to user 60003"},
		{0o600, stranger, group, "belongs to user 60003"},
		{0o660, stranger, group, ""}, // a member of the group
		{0o660, stranger, stranger, "belongs to user 60003"},
		{0o666, stranger, stranger, ""},
	} {
		for _, end := range []string{"-wake", "-runners", "-wal", "-shm"} {
			path := newPath(t)
			makeStore(t, path)
			if err := errors.Join(os.Chown(path, owner, group), os.Chmod(path, c.mode)); err != nil {
				t.Fatal(err)
			}
			if end == "-wal" {
				writeFile(t, path+end, nil)
			} else if end == "-runners" {
				writeFile(t, path+end, newHeader())
			} else if end == "-shm" {
				writeFile(t, path+"-wal", nil)
				must(t, os.Chown(path+"-wal", owner, group))
				writeFile(t, path+end, nil)
			}
			if err := os.Chown(path+end, c.uid, c.gid); err != nil {
				t.Fatal(err)
			}
			if c.why != "" && (c.uid != 0 || end != "-wake") { // that one has a mark
				wantOpenRefused(t, path, path+end+": "+c.why)
				continue
			}
			makeStore(t, path, "a")
		}
	}
}

// TestSidesFollowTheStore: the files beside a store get its owner, group and mode, whichever user creates them.
func TestSidesFollowTheStore(t *testing.T) {
	asRoot(t)
	const owner, group = 60001, 60002
	for _, mode := range []os.FileMode{0o600, 0o640, 0o660, 0o666} {
		path := newPath(t)
		makeStore(t, path)
		if err := errors.Join(os.Chown(path, owner, group), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		for _, remains := range []bool{true, false} { // with the old wake file, and without one
			if !remains {
				must(t, errors.Join(os.Remove(path+"-wake"), os.Remove(path+"-runners")))
			}
			s := openAt(t, path)
			mustInsert(t, s, fmt.Sprint("a", remains))
			mustRun(t, s, fmt.Sprint("r", remains))
			for _, end := range []string{"-wake", "-runners", "-wal", "-shm"} {
				now, err := factsOf(path + end)
				if err != nil || now.uid != owner || now.gid != group || now.mode != uint32(mode) {
					t.Errorf("mode %v: PATH%s belongs to %d:%d, with mode %o (error: %v)", mode, end, now.uid, now.gid, now.mode, err)
				}
			}
			closeStore(t, s)
		}
	}
}

// TestMembersOfAGroup: each member of a group can use a store that the group shares, whichever of them created its
// files, and whatever owner and group these have.
func TestMembersOfAGroup(t *testing.T) {
	asRoot(t)
	const group = 60002
	folder, err := os.MkdirTemp("", "group")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path := filepath.Join(folder, "kapi.db")
	if err := errors.Join(os.Chown(folder, 60001, group), os.Chmod(folder, 0o770)); err != nil {
		t.Fatal(err)
	}
	member := func(uid int) *child { return startChildAs(t, "keep", path, uid, uid, group) }
	first := member(60001)
	first.expect("open")
	first.end()
	if err := errors.Join(os.Chown(path, 60001, group), os.Chmod(path, 0o660)); err != nil {
		t.Fatal(err)
	}
	// Only the first member may use the wake file, as if it were from before the store was given to the group.
	second := member(60003)
	second.expect("open")
	third := member(60001)
	third.expect("open")
	second.end()
	third.end()
	s := openFor(t, path)
	mustInsert(t, s, "a")
	fourth := member(60004)
	fourth.expect("open")
	fourth.end()
}

// TestExposed: opening a store that other users may read or write gives one warning.
func TestExposed(t *testing.T) {
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o640: "", 0o660: "", 0o644: "others may read the store", 0o604: "others may read the store",
		0o666: "others may write to the store", 0o602: "others may write to the store",
	} {
		path := newPath(t)
		makeStore(t, path)
		chmod(t, path, mode)
		var said warnings
		s, err := OpenWith(kapitest.Within(t), path, Options{Warn: said.add})
		if err != nil {
			t.Fatal(err)
		}
		mustInsert(t, s, "a")
		closeStore(t, s)
		got := strings.Join(said.all(), "\n")
		if want == "" && got != "" || want != "" && !strings.HasPrefix(got, want+" "+path+" (mode "+fmt.Sprintf("%04o", mode)+")") || strings.Contains(got, "\n") {
			t.Errorf("mode %v: warned of %q, want %q", mode, got, want)
		}
	}
}

// startChildAs is startChild as a user who is in one more group.
func startChildAs(t *testing.T, role, path string, uid, gid, group int) *child {
	t.Helper()
	return startChildWith(t, role, path, fmt.Sprintf("%s=%d %d %d", asEnv, uid, gid, group))
}
