package supervise

import (
	"reflect"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The functions of this file, and those that they call, run in a process that has a single thread and
// no Go runtime of its own, and shares this one's memory or has next to none: nothing may be allocated,
// no stack may grow (nosplit; the linker checks it), nothing may be written that the garbage collector
// looks after, and no lock may be taken. All signals are blocked in such a process from its first moment
// on (see forked): no handler of Go's ever runs in it. The rules are those of forkAndExecInChild in
// package syscall, but the caller doesn't wait, and so each has a stack of its own.
//
// What shares memory is killed together by the kernel where one of them dumps core or memory is short.
// That is right: none of them is to outlive this process, and the command has its own.

// kernelSignals is the number of the last signal.
const kernelSignals = 64

// A launch is what a launcher needs: the process that becomes the command.
type launch struct {
	// near is this process's end of a socket pair, far the launcher's.
	near, far uintptr
	stack     unsafe.Pointer // see stacked
	// files are what becomes its first three descriptors.
	files [3]uintptr
	// path is executed with argv and env; shell with shellArgv instead if the kernel doesn't know
	// how to execute path.
	path, shell     *byte
	argv, shellArgv **byte
	env             **byte
	// pids are where in env the process's own pid is to stand, handles where the number of its
	// pidfd is. There is room for any.
	pids, handles [][]byte
	limit         *[2]uint64    // of open files; nil: as it is
	mask          unix.Sigset_t // what is blocked when the command begins
	action        [8]uintptr    // room for a struct sigaction
	fresh         [8]uintptr    // one that says SIG_DFL
	word          [8]byte       // what is told to the other end, or by it
}

// live is the life of a process that spawn has made: the launcher; if there is an aside, too, the
// adopter, which makes the launcher; with an aside only, the witness.
//
//go:norace
//go:nocheckptr
//go:nosplit
func live(l *launch, a *aside) {
	switch {
	case l == nil:
		a.watch()
	case a != nil:
		a.adopt(l)
	default:
		_, _, _ = syscall.RawSyscall(unix.SYS_CLOSE, l.near, 0, 0)
		l.await()
		l.prepare()
		l.execute()
	}
	rawExit(codeNotExecutable)
}

// stacked lays out a stack for spawn: at its top it has the address of live, and what that is told.
func stacked(memory []byte, l *launch, a *aside) unsafe.Pointer {
	const words, align = 4 * unsafe.Sizeof(uintptr(0)), 16
	end := uintptr(unsafe.Pointer(&memory[0])) + uintptr(len(memory))
	top := unsafe.Pointer(&memory[uintptr(len(memory))-end%align-words])
	*(*[3]uintptr)(top) = [3]uintptr{reflect.ValueOf(live).Pointer(), uintptr(unsafe.Pointer(l)), uintptr(unsafe.Pointer(a))}
	return top
}

// share makes a process that shares this one's memory, or, in emulators that know none such (qemu-user),
// gets a copy.
//
//go:norace
//go:nosplit
func share(stack unsafe.Pointer) (pid int) {
	pid = spawn(unix.CLONE_VM|uintptr(unix.SIGCHLD), stack)
	if pid == -int(unix.EINVAL) {
		pid = spawn(uintptr(unix.SIGCHLD), stack)
	}
	return pid
}

// stackSize is more than nosplit functions may take.
const stackSize = 8 << 10

//go:norace
//go:nosplit
func rawExit(code uintptr) {
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
	}
}

// await returns when the command is to be executed. End of file means that the process that would
// have said so is gone, or has thought better of it.
//
//go:norace
//go:nocheckptr
//go:nosplit
func (l *launch) await() {
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_READ, l.far, uintptr(unsafe.Pointer(&l.word)), uintptr(len(l.word)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 || n != uintptr(len(l.word)) {
			rawExit(codeNotExecutable)
		}
		return
	}
}

// prepare gives the process what the command is to find.
//
//go:norace
//go:nocheckptr
//go:nosplit
func (l *launch) prepare() {
	for i := range l.files {
		var errno syscall.Errno
		if fd := uintptr(i); l.files[i] == fd {
			_, _, errno = syscall.RawSyscall(unix.SYS_FCNTL, fd, unix.F_SETFD, 0)
		} else {
			_, _, errno = syscall.RawSyscall(unix.SYS_DUP3, l.files[i], fd, 0)
		}
		if errno != 0 {
			l.fail(errno)
		}
	}
	pid, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	for i := range l.pids {
		writeDecimal(l.pids[i], uint64(pid))
	}
	for i := range l.handles {
		writeDecimal(l.handles[i], *(*uint64)(unsafe.Pointer(&l.word)))
	}
	if l.limit != nil {
		_, _, _ = syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(l.limit)), 0, 0, 0)
	}
	// What this process has a handler for is the command's to find at its default, as after any exec;
	// here it must be so before the signals that wait are let in. What is ignored stays ignored.
	for sig := uintptr(1); sig <= kernelSignals; sig++ {
		_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&l.action)), 8, 0, 0)
		if errno == 0 && l.action[0] > 1 { // neither SIG_DFL nor SIG_IGN
			_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&l.fresh)), 0, 8, 0, 0)
		}
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&l.mask)), 0, 8, 0, 0)
}

// execute becomes the command, or says why not.
//
//go:norace
//go:nocheckptr
//go:nosplit
func (l *launch) execute() {
	_, _, errno := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(l.path)),
		uintptr(unsafe.Pointer(l.argv)), uintptr(unsafe.Pointer(l.env)))
	if errno == unix.ENOEXEC {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(l.shell)),
			uintptr(unsafe.Pointer(l.shellArgv)), uintptr(unsafe.Pointer(l.env)))
	}
	l.fail(errno)
}

// fail ends the process. The exit code is for the case that nobody waits for the word any more.
//
//go:norace
//go:nocheckptr
//go:nosplit
func (l *launch) fail(errno syscall.Errno) {
	*(*uint64)(unsafe.Pointer(&l.word)) = uint64(errno)
	_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, l.far, uintptr(unsafe.Pointer(&l.word)), uintptr(len(l.word)))
	if errno == unix.ENOENT {
		rawExit(codeNotFound)
	}
	rawExit(codeNotExecutable)
}

// writeDecimal writes a number to where there is room for it.
//
//go:norace
//go:nosplit
func writeDecimal(to []byte, n uint64) {
	digits := 1
	for rest := n; rest >= 10; rest /= 10 {
		digits++
	}
	for i := digits - 1; i >= 0; i-- {
		if i < len(to) {
			to[i] = byte('0' + n%10)
		}
		n /= 10
	}
}
