package supervise

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An adopter stands between this process and the command, and reaps everything that the command starts.
// It is used only where this process may get children that are not the command's: as the first process
// of a container it adopts orphans of others, and a shell may have left it children before executing
// kapi. Those stay this process's children, while the command's descendants always belong to the
// adopter, so the two are never confused.
type adopter struct {
	*aside
	pid int
}

// adopt is the adopter's main loop: it creates the launcher and reaps all of its descendants.
//
//go:norace
//go:nocheckptr
//go:nosplit
func (a *aside) adopt(l *launch) {
	pid := 0
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, 0)
	if errno == 0 {
		pid = share(l.stack)
	} else {
		pid = -int(errno)
	}
	a.command = int64(pid)
	var word byte // only signals that a.command can be read
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, l.far, uintptr(unsafe.Pointer(&word)), 1)
	a.become()
	for {
		ended, _, errno := syscall.RawSyscall6(unix.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(&a.last)), 0, 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0: // ECHILD: all have ended
			rawExit(0)
		case int(ended) == pid:
			a.status = a.last
			a.ended = 1
		}
	}
}

// await returns the pid of the launcher that the adopter created. The adopter announces it on near.
func (a *adopter) await(near int) (pid int, err error) {
	word := make([]byte, 1)
	for {
		n, err := unix.Read(near, word)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = errors.New("its parent process was killed")
		}
		if err != nil {
			return 0, err
		}
		break
	}
	if a.command < 0 {
		return 0, syscall.Errno(-a.command)
	}
	return int(a.command), nil
}

// discard ends the launcher, if there is one, and the adopter, which exits once the launcher has.
func (a *adopter) discard(launcher int) {
	if launcher != 0 {
		_ = unix.Kill(launcher, unix.SIGKILL)
	}
	if a.pid != 0 {
		reapOne(a.pid)
	}
	a.free()
}
