package supervise

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asideName is the process name of the witness and the adopter. It isn't "kapi", so that signals sent
// by name reach kapi alone. It must be shorter than 16 bytes.
const asideName = "signal-witness"

// An aside is memory that this process shares with a helper process that it forked and that is not part
// of the command's tree. fork_linux.go has the rules for code that runs in that process.
type aside struct {
	parent uintptr        // the pid of this process
	stack  unsafe.Pointer // see stacked
	name   [16]byte

	set    uint64                    // all signals
	counts [kernelSignals + 1]uint32 // how often the witness got each

	// Used by the adopter:
	command int64  // the pid of the command, or the negative number of an error
	ended   uint32 // 1 once the command has ended
	status  uint32 // the command's wait status
	last    uint32 // wait status of the process reaped last

	memory [stackSize]byte
}

// newAside allocates the memory; l is set for an adopter only.
func newAside(l *launch) (*aside, error) {
	memory, err := unix.Mmap(-1, 0, int(unsafe.Sizeof(aside{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("share memory: %w", err)
	}
	a := (*aside)(unsafe.Pointer(&memory[0]))
	a.parent, a.set = uintptr(os.Getpid()), ^uint64(0)
	a.stack = stacked(a.memory[:], l, a)
	copy(a.name[:], asideName)
	return a, nil
}

// free releases the memory once the other process is gone.
func (a *aside) free() {
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(a)), unsafe.Sizeof(aside{})))
}

// forked calls fork, which works like spawn, with all signals blocked and syscall.ForkLock held, so
// that no half-opened descriptor is inherited. It stores the previous signal mask in mask.
func forked(fork func() int, mask *unix.Sigset_t) (pid int, err error) {
	// PR_SET_PDEATHSIG refers to the parent thread, not the process: the threads of Go's runtime live
	// as long as the process does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, mask); err != nil {
		return 0, err
	}
	pid = fork()
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, mask, nil); err != nil {
		return 0, err
	}
	if pid < 0 {
		return 0, syscall.Errno(-pid)
	}
	return pid, nil
}

// become sets up the new process: it dies with its parent, has no files open and has a name of its own.
//
//go:norace
//go:nocheckptr
//go:nosplit
func (a *aside) become() {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
	parent, _, _ := syscall.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	if errno != 0 || parent != a.parent { // the parent died before the death signal was set
		rawExit(1)
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&a.name)), 0, 0, 0, 0)
	_, _, errno = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 0, uintptr(^uint32(0)), 0)
	if errno != 0 { // before Linux 5.9; higher descriptors stay open, but kapi has inherited them and has them open, too
		for fd := uintptr(0); fd < 4096; fd++ {
			_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
		}
	}
}

// gone says whether a process forked here has ended, without reaping it.
func gone(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG|unix.WALL, nil)
	return err == nil && info.Signo != 0 || errors.Is(err, unix.ECHILD)
}

// reapOne waits for a process forked here.
func reapOne(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, unix.WALL, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
