package asowner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const uid, gid = 60001, 60002

// TestDo checks that f acts as the owner, on this goroutine only and only while it runs.
func TestDo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test takes the rights of another user: run it as root")
	}
	if !Possible(uid, gid) {
		t.Fatalf("root can't take the rights of user %d", uid)
	}
	folder, err := os.MkdirTemp("", "asowner")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	roots, theirs := filepath.Join(folder, "roots"), filepath.Join(folder, "theirs")
	if err := errors.Join(os.Chmod(folder, 0o777), os.WriteFile(roots, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	failed := errors.New("failed")
	err = Do(uid, gid, func() error {
		runtime.Gosched()
		if _, err := os.ReadFile(roots); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("f could read root's file (error: %v)", err)
		}
		if err := os.WriteFile(theirs, nil, 0o600); err != nil {
			t.Error(err)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("Do returned %v", err)
	}
	info, err := os.Stat(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); s.Uid != uid || s.Gid != gid {
		t.Errorf("the new file belongs to %d:%d, want %d:%d", s.Uid, s.Gid, uid, gid)
	}
	if _, err := os.ReadFile(roots); err != nil {
		t.Errorf("root's rights were not restored: %v", err)
	}
}

// TestMkdirAll checks that a folder made by root belongs to the owner of its parent.
func TestMkdirAll(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test makes folders in another user's: run it as root")
	}
	home, err := os.MkdirTemp("", "asowner")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	for _, owner := range []int{uid, 0} {
		if err := os.Chown(home, owner, owner); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(home, fmt.Sprint(owner), "state", "kapi")
		for range 2 { // the second time it exists
			if err := MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, made := range []string{path, filepath.Dir(path)} {
			info, err := os.Stat(made)
			if err != nil {
				t.Fatal(err)
			}
			if s := info.Sys().(*syscall.Stat_t); int(s.Uid) != owner || int(s.Gid) != owner || info.Mode().Perm() != 0o700 {
				t.Errorf("in a folder of user %d: the new folder belongs to %d:%d, with mode %o", owner, s.Uid, s.Gid, info.Mode().Perm())
			}
		}
	}
}

// TestMkdirAllAtALink checks that nothing is made behind a user's link that the user couldn't make.
func TestMkdirAllAtALink(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test makes folders in another user's: run it as root")
	}
	victims := t.TempDir()
	home, err := os.MkdirTemp("", "asowner")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	link := filepath.Join(home, "state")
	if err := errors.Join(os.Chown(home, uid, gid), os.Symlink(victims, link), os.Lchown(link, uid, gid)); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(filepath.Join(link, "kapi"), 0o700); err == nil {
		t.Error("a folder was made in root's folder")
	}
	if made, err := os.ReadDir(victims); err != nil || len(made) > 0 {
		t.Errorf("got %v (error: %v)", made, err)
	}
}

// TestGroups checks that root's supplementary groups don't apply, and are restored.
func TestGroups(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test takes the rights of another user: run it as root")
	}
	runtime.LockOSThread() // not unlocked: the thread, with its groups, ends with this test
	if err := setGroups([]int{0, 60003}); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "asowner")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	roots := filepath.Join(folder, "roots")
	if err := errors.Join(os.Chmod(folder, 0o755), os.WriteFile(roots, nil, 0o600), os.Chmod(roots, 0o660)); err != nil {
		t.Fatal(err)
	}
	_ = Do(uid, gid, func() error {
		if _, err := os.ReadFile(roots); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("f could read a file of root's group (error: %v)", err)
		}
		return nil
	})
	if now, err := unix.Getgroups(); err != nil || !slices.Equal(now, []int{0, 60003}) {
		t.Errorf("the groups afterwards are %v (error: %v)", now, err)
	}
}
