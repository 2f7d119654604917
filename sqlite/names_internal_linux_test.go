package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// TestHardLink: a file with two names is refused under each, and the error says what to do. Once it has one
// name, it can be opened again.
func TestHardLink(t *testing.T) {
	path := newPath(t)
	head := makeStore(t, path, "a")
	other := filepath.Join(t.TempDir(), "other.db")
	if err := os.Link(path, other); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, other} {
		wantOpenRefused(t, name, "it has 2 names (hard links)")
		wantAlone(t, other)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	wantSame(t, reopened(t, path), head)
}

// TestHardLinkToAnOpenStore: if a hard link is created while a store is open (a backup with cp -al), the store
// keeps working, but can't be opened again.
func TestHardLinkToAnOpenStore(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	mustInsert(t, s, "a")
	if err := os.Link(path, path+".backup"); err != nil {
		t.Fatal(err)
	}
	wantOpenRefused(t, path, "it has 2 names (hard links)")
	mustInsert(t, s, "b")
	wantIDs(t, s, "a", "b")
}

// TestLinkedFolder: a path through a link to the folder leads to the same store.
func TestLinkedFolder(t *testing.T) {
	path := newPath(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		t.Fatal(err)
	}
	a, b := openFor(t, path), openFor(t, filepath.Join(link, "kapi.db"))
	mustInsert(t, a, "a")
	mustInsert(t, b, "b")
	wantIDs(t, a, "a", "b")
	if a.Path() != b.Path() {
		t.Errorf("they are at %s and %s", a.Path(), b.Path())
	}
}

// bind mounts the file or folder at one path at another.
func bind(t *testing.T, from, to string) {
	t.Helper()
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(fmt.Errorf("bind mount of %s: %w", from, err))
	}
	t.Cleanup(func() { _ = unix.Unmount(to, unix.MNT_DETACH) })
}

// TestBindMount: a file that is mounted by itself is refused, unless its folder is mounted, too, or the file
// is mounted where it already is.
func TestBindMount(t *testing.T) {
	if !kapitest.WithMounts(t, true) {
		return
	}
	folder := kapitest.NewDisk(t, "size=16m").Folder
	path := filepath.Join(folder, "kapi.db")
	a := openFor(t, path)
	mustInsert(t, a, "a")

	alone := filepath.Join(t.TempDir(), "kapi.db")
	writeFile(t, alone, nil)
	bind(t, path, alone)
	wantOpenRefused(t, alone, "the file is mounted here by itself (it is /kapi.db of its file system)")
	wantAlone(t, alone)

	whole := t.TempDir()
	bind(t, folder, whole)
	b := openFor(t, filepath.Join(whole, "kapi.db"))
	mustInsert(t, b, "b")
	wantIDs(t, a, "a", "b")

	bind(t, path, path)
	c := openFor(t, path)
	mustInsert(t, c, "c")
	wantIDs(t, a, "a", "b", "c")
}

func TestMountedFrom(t *testing.T) {
	const mountinfo = `22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 8:2 / /srv rw - ext4 /dev/sdb1 rw
31 22 8:2 /data/kapi.db /var/lib/kapi/kapi.db rw - ext4 /dev/sdb1 rw
32 30 8:2 /data/kapi.db /srv/data/kapi.db rw - ext4 /dev/sdb1 rw
33 22 8:1 /a\040b/kapi.db /c\040d/kapi.db rw - ext4 /dev/sda1 rw
34 22 8:2 /data /mnt rw - ext4 /dev/sdb1 rw
35 34 8:2 /data/kapi.db /mnt/kapi.db rw - ext4 /dev/sdb1 rw
`
	for path, want := range map[string]string{
		"/var/lib/kapi/kapi.db": "/data/kapi.db",
		"/c d/kapi.db":          "/a b/kapi.db",
		"/srv/data/kapi.db":     "", // where it already is
		"/mnt/kapi.db":          "",
		"/srv/data/other.db":    "",
		"/kapi.db":              "",
	} {
		if got := mountedFrom(mountinfo, path); got != want {
			t.Errorf("%s is mounted from %q, want %q", path, got, want)
		}
	}
}

// TestMovedWhileOpen: if a file is moved while a process has it open, with its log at the old place, it is
// refused at the new place until that process has ended.
func TestMovedWhileOpen(t *testing.T) {
	path := newPath(t)
	head := makeStore(t, path, "a")
	for _, there := range []string{path + ".moved", filepath.Join(t.TempDir(), "kapi.db")} {
		other := startChild(t, "keep", path)
		other.expect("open")
		rename(t, path, there)
		wantOpenRefused(t, there, fmt.Sprintf("pid %d (", other.cmd.Process.Pid))
		wantOpenRefused(t, there, "has it open under another name, with a log of its own")
		other.end()
		rename(t, path+"-wake", there+"-wake")
		wantSame(t, reopened(t, there), head)
		rename(t, there, path)
		rename(t, there+"-wake", path+"-wake")
	}
	wantSame(t, reopened(t, path), head)
}
