package sqlite

import (
	"errors"
	"os"
	osexec "os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// againEnv is set for a process that runs one test again, in other circumstances.
const againEnv = "KAPI_SQLITE_TEST_AGAIN"

// nobody is a user without rights.
const nobody = 65534

// again runs the test once more in a process of its own, and passes its outcome on. It
// returns an error if that process couldn't be had.
func again(t *testing.T, attributes *syscall.SysProcAttr) error {
	t.Helper()
	cmd := osexec.Command(executable(t), "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), againEnv+"=1", noExitSleep)
	cmd.SysProcAttr = attributes
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Wait()
	if err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Errorf("in a process of its own: %v\n%s", err, out.String())
	}
	return nil
}

// withMounts runs the rest of the test in a process that has mounts of its own, as root
// or in a user namespace. It returns true in that process.
func withMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(againEnv) != "" {
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			cannotMount(t, err)
		}
		return true
	}
	attributes := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	err := again(t, attributes)
	if err != nil {
		attributes.Unshareflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		err = again(t, attributes)
	}
	if err != nil {
		cannotMount(t, err)
	}
	return false
}

// cannotMount ends a test that needs a mount.
func cannotMount(t *testing.T, err error) {
	t.Helper()
	t.Fatal("this test mounts a small file system of its own: run it as root (with CAP_SYS_ADMIN), or where user namespaces are allowed:", err)
}

// withoutRights runs the rest of the test as somebody whom file modes keep out: root does
// so as an ordinary user of a user namespace, or gives its rights up for good. It returns
// true in that process.
func withoutRights(t *testing.T) bool {
	t.Helper()
	switch {
	case os.Getuid() != 0:
		return true
	case os.Getenv(againEnv) == "":
		err := again(t, &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}},
		})
		if err != nil {
			err = again(t, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		t.Fatal("this test gives root's rights up: run it as another user, or where user namespaces are allowed:", err)
	}
	return true
}

// mountTmpfs mounts an empty file system and unmounts it with t.
func mountTmpfs(t *testing.T, options string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, options); err != nil {
		cannotMount(t, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return folder
}
