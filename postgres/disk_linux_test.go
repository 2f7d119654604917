package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/internal/store"
)

// againEnv is set for a process that runs one test again, with mounts of its own.
const againEnv = "KAPI_POSTGRES_TEST_AGAIN"

// withMounts runs the test once more in a process that has mounts of its own. It is true there.
func withMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(againEnv) != "" {
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), againEnv+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Fatal("this test mounts a small disk for a database: run it as root")
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a process of its own: %v\n%s", err, out)
	}
	return false
}

// TestDiskFull: a commit that the database's disk has no room for is refused whole. What was
// acknowledged stays and can be read, and once there is room the store goes on.
func TestDiskFull(t *testing.T) {
	if !withMounts(t) {
		return
	}
	disk, err := os.MkdirTemp("", "kapidisk-")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=160m,mode=1777"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(unix.Unmount(disk, 0), os.Remove(disk)); err != nil {
			t.Error(err)
		}
	})
	alone := pgtest.For(t, pgtest.Options{Folder: disk, Settings: map[string]string{"max_connections": "20", "max_wal_size": "48MB", "min_wal_size": "32MB"}})
	s := openFor(t, alone.DSN("postgres"))
	mustInsert(t, s, "before")
	kept := []string{"before"}
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	for i := 0; ; i++ {
		id := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 1000))
		err := insert(within(t), s, id, nil)
		if err != nil {
			wantRefusal(t, err, "its disk is full")
			break
		}
		if kept = append(kept, id); i == 1000 {
			t.Fatal("the disk isn't full after 1000 commits")
		}
	}
	wantIDs(t, s, kept...)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	mustInsert(t, s, "after")
	wantIDs(t, s, append(kept, "after")...)
	if err := s.Renew(within(t), store.RunnerRecord{ID: "r"}); err != nil {
		t.Error(err)
	}
}

func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
