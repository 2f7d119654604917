package kapitest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// againEnv is set in a process that runs one test again, with rights or mounts of its own.
const againEnv = "KAPI_TEST_AGAIN"

// IsAgain reports whether this is such a process.
func IsAgain() bool { return os.Getenv(againEnv) != "" }

// Again runs the test again in a process with these attributes, and fails this test if it fails there.
// It returns an error if such a process can't be started.
func Again(t *testing.T, attributes *syscall.SysProcAttr) error {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), againEnv+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = attributes
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Errorf("in a process of its own: %v\n%s", err, out.String())
	}
	return nil
}

// WithMounts runs the rest of the test in a process with its own mounts, as root or, if namespace is
// true and it isn't root, in a user namespace. It returns true in that process.
func WithMounts(t *testing.T, namespace bool) bool {
	t.Helper()
	if IsAgain() {
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			cannotMount(t, err)
		}
		return true
	}
	attributes := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	err := Again(t, attributes)
	if err != nil && namespace {
		attributes.Unshareflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		err = Again(t, attributes)
	}
	if err != nil {
		cannotMount(t, err)
	}
	return false
}

// cannotMount fails a test that needs a mount.
func cannotMount(t *testing.T, err error) {
	t.Helper()
	t.Fatal("this test mounts a small file system of its own: run it as root (with CAP_SYS_ADMIN), or where user namespaces are allowed:", err)
}
