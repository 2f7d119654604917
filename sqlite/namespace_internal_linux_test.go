package sqlite

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
)

// nobody is a user without rights.
const nobody = 65534

// withoutRights runs the test again in a process to which file modes apply. If this one is root, that is an
// ordinary user of a user namespace, or it gives up root's rights. withoutRights returns true in the process
// that should run the rest of the test.
func withoutRights(t *testing.T) bool {
	t.Helper()
	switch {
	case os.Getuid() != 0:
		return true
	case !kapitest.IsAgain():
		err := kapitest.Again(t, &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}},
		})
		if err != nil {
			err = kapitest.Again(t, nil)
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
