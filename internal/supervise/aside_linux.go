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
// part of the command's tree. It is all the memory that such a process has. See fork_linux.go for
// the rules that the code of that process keeps.
type aside struct {
	parent uintptr // this process
	page   uintptr // the size of a page

	name [16]byte
	// title is where the kernel reads a process's command line and environment, nil if not known.
	title     unsafe.Pointer
	titleSize uintptr

	// drop is the memory that it gives back, idle that of which it gives back the content. Where the
	// last range that it gives back starts is the first of tops, the others are where it may end.
	drop [12]span
	idle span
	tops [9]uintptr

	set    uint64                    // all signals
	counts [kernelSignals + 1]uint32 // how often the witness got each

	// Of the adopter.
	command uint64 // the pid of the command, or 0
	failure uint64 // why there is none
	ended   uint32 // 1 when the command has
	status  uint32 // how
	last    uint32 // of the process that was reaped last
}

// A span is a range of memory, from its first byte to behind its last.
type span struct{ from, to uintptr }

// newAside makes the memory.
func newAside() (*aside, error) {
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, max(page, int(unsafe.Sizeof(aside{}))), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("share memory: %w", err)
	}
	a := (*aside)(unsafe.Pointer(&memory[0]))
	a.parent, a.page, a.set = uintptr(os.Getpid()), uintptr(page), ^uint64(0)
	copy(a.name[:], asideName)
	a.plan(uintptr(unsafe.Pointer(a)), uintptr(len(memory)))
	return a, nil
}

// free gives the memory back, when the other process is gone.
func (a *aside) free() {
	size := max(int(a.page), int(unsafe.Sizeof(aside{})))
	_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(a)), size))
}

// forked calls fork, which is one of those that return in the parent alone, with all signals blocked
// and no descriptor half opened. It passes the mask of before.
func forked(fork func(mask *unix.Sigset_t) (uintptr, syscall.Errno)) (pid int, err error) {
	// The parent of a process that is killed with its parent (PR_SET_PDEATHSIG) is the thread: those
	// of Go's runtime live as long as the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	var all, mask unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &mask); err != nil {
		return 0, err
	}
	child, errno := fork(&mask)
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil); err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, errno
	}
	return int(child), nil
}

// become makes the process what it is: one that ends with this one, has no file open, goes by
// another name and takes no memory.
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

// shed gives back what the process has of this one's memory, but for its code, the page of the stack
// that it is on, and a itself. Otherwise it would keep the old content of each page that is written
// here. It also takes the command line and the environment out of sight.
//
//go:norace
//go:nocheckptr
//go:nosplit
func (a *aside) shed() {
	for i := uintptr(0); i < a.titleSize; i++ {
		letter := byte(0)
		if i < uintptr(len(a.name)) {
			letter = a.name[i]
		}
		*(*byte)(unsafe.Add(a.title, i)) = letter
	}
	var here byte
	stack := uintptr(unsafe.Pointer(&here)) &^ (a.page - 1)
	for i := range a.drop {
		from, to := a.drop[i].from, a.drop[i].to
		if from >= to {
			continue
		}
		// The frames of this function's callers are on the next page at most: they are small.
		if from < stack+2*a.page && stack-a.page < to {
			rawUnmap(from, stack-a.page)
			from = stack + 2*a.page
		}
		rawUnmap(from, to)
	}
	if a.idle.to > a.idle.from {
		_, _, _ = syscall.RawSyscall(unix.SYS_MADVISE, a.idle.from, a.idle.to-a.idle.from, unix.MADV_DONTNEED)
	}
	if a.tops[0] <= stack {
		return
	}
	for i := range a.tops[1:] {
		if a.tops[1+i] > a.tops[0] && rawUnmap(a.tops[0], a.tops[1+i]) {
			return
		}
	}
}

//go:norace
//go:nosplit
func rawUnmap(from, to uintptr) bool {
	if to <= from {
		return true
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_MUNMAP, from, to-from, 0)
	return errno == 0
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
