package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// TestModes: only the owner may read and write the files of a store, whatever the umask.
func TestModes(t *testing.T) {
	if !kapitest.IsAgain() { // the umask applies to the whole process
		if err := kapitest.Again(t, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, umask := range []int{0, 0o022, 0o077} {
		path := newPath(t)
		was := unix.Umask(umask)
		s := openFor(t, path)
		mustInsert(t, s, "a")
		mustRun(t, s, "r")
		unix.Umask(was)
		for _, end := range []string{"", "-wal", "-shm", "-wake", "-runners"} {
			info, err := os.Stat(path + end)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode(); got != 0o600 {
				t.Errorf("umask %03o: PATH%s has mode %v, want 0600", umask, end, got)
			}
		}
	}
}

// TestNoRights: a store whose modes don't allow it to be used is refused, and left as it was.
func TestNoRights(t *testing.T) {
	if !withoutRights(t) {
		return
	}
	for name, c := range map[string]struct {
		file, folder os.FileMode
		why          string
	}{
		"file not to be written":   {0o400, 0o700, "can't be opened for writing: permission denied"},
		"file not to be read":      {0o200, 0o700, "can't be opened for writing: permission denied"},
		"folder not to be written": {0o600, 0o500, "its folder can't be written to: permission denied"},
		"folder not to be entered": {0o600, 0o600, "can't be opened for writing: permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			head := makeStore(t, path, "a")
			before := string(readFile(t, path))
			chmod(t, path, c.file)
			chmod(t, filepath.Dir(path), c.folder)
			wantOpenRefused(t, path, c.why)
			chmod(t, filepath.Dir(path), 0o700)
			chmod(t, path, 0o600)
			if string(readFile(t, path)) != before {
				t.Error("the file was changed")
			}
			s := openFor(t, path)
			wantIDs(t, s, "a")
			if got := headOf(t, s); got != head {
				t.Errorf("the head became %v, was %v", got, head)
			}
		})
	}
	t.Run("new file", func(t *testing.T) {
		path := newPath(t)
		chmod(t, filepath.Dir(path), 0o500)
		wantOpenRefused(t, path, "can't be created: permission denied")
		chmod(t, filepath.Dir(path), 0o700)
	})
	t.Run("wake file", func(t *testing.T) {
		path := newPath(t)
		head := makeStore(t, path)
		chmod(t, path+"-wake", 0o400)
		wantSame(t, reopened(t, path), head) // opening it restores the mode
	})
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestReadOnlyMount: on a file system that is mounted read-only, even root is refused.
func TestReadOnlyMount(t *testing.T) {
	if !kapitest.WithMounts(t, true) {
		return
	}
	folder := kapitest.NewDisk(t, "size=16m").Folder
	path := filepath.Join(folder, "kapi.db")
	makeStore(t, path, "a")
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", folder, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	wantOpenRefused(t, path, "can't be opened for writing: read-only file system")
	wantOpenRefused(t, filepath.Join(folder, "new.db"), "can't be created: read-only file system")
	remount(0)
	s := openFor(t, path)
	wantIDs(t, s, "a")
	if _, err := os.Stat(filepath.Join(folder, "new.db")); !os.IsNotExist(err) {
		t.Errorf("new.db was made (error: %v)", err)
	}
}

// TestReadOnlyFolder: a writable file in a read-only folder is refused, even for root.
func TestReadOnlyFolder(t *testing.T) {
	if !kapitest.WithMounts(t, true) {
		return
	}
	folder := kapitest.NewDisk(t, "size=16m").Folder
	path := filepath.Join(folder, "kapi.db")
	makeStore(t, path, "a")
	for _, m := range []struct {
		target string
		flags  uintptr
	}{{folder, unix.MS_BIND}, {path, unix.MS_BIND}, {folder, unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY}} {
		source := m.target
		if m.flags&unix.MS_REMOUNT != 0 {
			source = ""
		}
		if err := unix.Mount(source, m.target, "", m.flags, ""); err != nil {
			t.Fatal(fmt.Errorf("bind mount of %s: %w", m.target, err))
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(folder, unix.MNT_DETACH) })
	wantOpenRefused(t, path, "its folder can't be written to: read-only file system")
}
