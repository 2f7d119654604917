package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// TestExchangedFolder: if a link replaces a folder after links were resolved, nothing is created at its
// target.
func TestExchangedFolder(t *testing.T) {
	above, victims := t.TempDir(), t.TempDir()
	path := filepath.Join(above, "folder", "kapi.db")
	must(t, os.Symlink(victims, filepath.Dir(path)))
	if err := makeFile(path); err == nil || !strings.Contains(err.Error(), "has become a symbolic link") {
		t.Errorf("makeFile: %v", err)
	}
	if f, err := openSide(path, wakeName, facts{}); err == nil || !strings.Contains(err.Error(), "has become a symbolic link") {
		t.Errorf("openSide: %v", err)
		_ = f.Close()
	}
	if left := folderOf(t, filepath.Join(victims, "any")); len(left) != 0 {
		t.Errorf("%v was made", left)
	}
}

// TestExchangedLink: a link's owner and target are always read from the same link.
func TestExchangedLink(t *testing.T) {
	asRoot(t)
	path, victims := strangersStore(t, 0o600, "a"), t.TempDir()
	folder := filepath.Dir(path)
	link := folder + ".link"
	must(t, errors.Join(os.Symlink(victims, link), os.Lchown(link, 60001, 60001)))
	t.Cleanup(func() { _ = os.Remove(link) })
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for exchanged := false; ; exchanged = !exchanged {
			select {
			case <-end:
				if !exchanged {
					return
				}
			default:
			}
			_ = unix.Renameat2(unix.AT_FDCWD, folder, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
		}
	}()
	for began := time.Now(); time.Since(began) < time.Second; {
		if to, err := resolve(path); err == nil && to != path {
			t.Errorf("it leads to %s", to)
			break
		}
	}
	close(end)
	<-ended
}

// TestStrangersLink: a link to something that its owner doesn't own is not followed, neither to the file nor
// to its folder, and nothing is created at its target.
func TestStrangersLink(t *testing.T) {
	asRoot(t)
	victims := t.TempDir()
	empty := filepath.Join(victims, "empty")
	writeFile(t, empty, nil)
	there, err := os.MkdirTemp("", "links")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(there) })
	must(t, os.Chown(there, 60001, 60001))
	link := func(name, to string, owner int) string {
		name = filepath.Join(there, name)
		must(t, os.Symlink(to, name))
		must(t, os.Lchown(name, owner, owner))
		return name
	}
	link("chained", "file", 0)
	for name, path := range map[string]string{
		"to a file":   link("file", empty, 60001),
		"to a folder": filepath.Join(link("folder", victims, 60001), "new.db"),
		"to another":  filepath.Join(there, "chained"),
	} {
		wantOpenRefused(t, path, "is a symbolic link of user 60001, to "+victims)
		if left := folderOf(t, empty); len(left) != 1 || left["empty"] != "" {
			t.Errorf("%s: %v is there", name, left)
		}
	}
	nowhere := link("nowhere", filepath.Join(victims, "none.db"), 60001)
	wantOpenRefused(t, nowhere, "is a symbolic link to "+victims+"/none.db, which isn't there")

	// A user's link to their own file is followed, by root too, and so is root's link.
	theirs := strangersStore(t, 0o600, "a")
	for _, owner := range []int{60001, 0} {
		path := link("theirs", theirs, owner)
		s := openAt(t, path)
		wantIDs(t, s, "a")
		closeStore(t, s)
		must(t, os.Remove(path))
	}
}

// TestReplacedByAStrangersLink: nor is such a link followed if it replaces the file of an open store.
func TestReplacedByAStrangersLink(t *testing.T) {
	asRoot(t)
	path := strangersStore(t, 0o600, "a")
	victim := filepath.Join(t.TempDir(), "victim")
	writeFile(t, victim, nil)
	var said warnings
	s, err := OpenWith(kapitest.Within(t), path, Options{Warn: said.add})
	must(t, err)
	defer closeStore(t, s)
	mustInsert(t, s, "b")
	must(t, os.Remove(path))
	must(t, os.Symlink(victim, path))
	must(t, os.Lchown(path, 60001, 60001))
	_, err = insert(kapitest.Within(t), s, "c")
	wantRefusal(t, err, path, "is a symbolic link of user 60001")
	if got := readFile(t, victim); !bytes.Equal(got, nil) {
		t.Errorf("%d bytes were written to the file it leads to", len(got))
	}
	if got := said.all(); len(got) != 2 || !strings.Contains(got[0], "was replaced by a symbolic link that is not followed") {
		t.Errorf("it warned of %q", got)
	}
	must(t, errors.Join(os.Remove(path), os.Remove(path+"-wake")))
	mustInsert(t, s, "d")
}

// TestManyLinks: links that lead to each other are refused.
func TestManyLinks(t *testing.T) {
	folder := t.TempDir()
	a, b := filepath.Join(folder, "a"), filepath.Join(folder, "b")
	must(t, errors.Join(os.Symlink(a, b), os.Symlink("b", a)))
	wantOpenRefused(t, a, "too many levels of symbolic links")
}
