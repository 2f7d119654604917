package asowner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

const uid, gid = 60001, 60002

// TestDo: what is done is done as the owner, on this goroutine and for as long as it takes.
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
			t.Errorf("a file of root's can be read (error: %v)", err)
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
		t.Errorf("what was made belongs to %d:%d, want %d:%d", s.Uid, s.Gid, uid, gid)
	}
	if _, err := os.ReadFile(roots); err != nil {
		t.Errorf("root's rights don't come back: %v", err)
	}
}

// TestMkdirAll: folders that root makes in somebody's home are theirs, and in root's folders root's.
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
		for range 2 { // the second time it is there
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
				t.Errorf("in a folder of %d: it belongs to %d:%d, with mode %o", owner, s.Uid, s.Gid, info.Mode().Perm())
			}
		}
	}
}
