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

// asideName is how a process that this one has beside the command calls itself: not kapi, so that
// what is sent to kapi by name reaches kapi alone. It is less than 16 bytes long.
const asideName = "signal-witness"

// An aside is memory that this process shares with one that it has made of itself, and that is no
// part of the command's tree. See fork_linux.go for the rules that the code of that process keeps.
type aside struct {
	parent uintptr        // this process
	stack  unsafe.Pointer // see stacked
	name   [16]byte

	set    uint64                    // all signals
	counts [kernelSignals + 1]uint32 // how often the witness got each

	// Of the adopter.
	command int64  // the pid of the command, or the negative number of an error
	ended   uint32 // 1 when the command has
	status  uint32 // how
	last    uint32 // of the process that was reaped last

	memory [stackSize]byte
}

// newAside makes the memory; l is for an adopter.
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

// free gives the memory back, when the other process is gone.
func (a *aside) free() {
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(a)), unsafe.Sizeof(aside{})))
}

// forked calls fork, which is like spawn, with all signals blocked and no descriptor half opened. It
// puts the mask of before into mask.
func forked(fork func() int, mask *unix.Sigset_t) (pid int, err error) {
	// The parent of a process that is killed with its parent (PR_SET_PDEATHSIG) is the thread: those
	// of Go's runtime live as long as the process.
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

// become makes the process what it is: one that ends with this one, has no file open and goes by
// another name.
//
//go:norace
//go:nocheckptr
//go:nosplit
func (a *aside) become() {
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0)
	parent, _, _ := syscall.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	if errno != 0 || parent != a.parent { // gone before it could be told
		rawExit(1)
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(&a.name)), 0, 0, 0, 0)
	_, _, errno = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 0, uintptr(^uint32(0)), 0)
	if errno != 0 { // before Linux 5.9. Descriptors beyond came with this process, which keeps them open as well.
		for fd := uintptr(0); fd < 4096; fd++ {
			_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
		}
	}
}

// gone says whether a process that was made here has ended, without reaping it.
func gone(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG|unix.WALL, nil)
	return err == nil && info.Signo != 0 || errors.Is(err, unix.ECHILD)
}

// reapOne waits for a process that was made here.
func reapOne(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, unix.WALL, nil); !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
