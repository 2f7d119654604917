package supervise

import (
	"reflect"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The functions in this file, and those that they call, run in a process of their own, with a single
// thread and without the Go runtime. That process shares this one's memory, or has a copy of almost none
// of it. So the functions must not allocate, grow the stack (nosplit, checked by the linker), write
// anything that the garbage collector manages, or take locks. All signals are blocked in such a process
// from the start (see forked), so no signal handler of Go's runs in it. The rules are those of
// forkAndExecInChild in package syscall, except that the caller doesn't wait, so each process needs a
// stack of its own.
//
// When a process dumps core or is killed for lack of memory, the kernel kills every process that shares
// its memory. That is fine here: none of these should outlive this process, and the command has memory
// of its own.

// kernelSignals is the highest signal number.
const kernelSignals = 64

// A launch is what a launcher, the process that becomes the command, needs.
type launch struct {
	// near is this process's end of a socket pair, far the launcher's end.
	near, far uintptr
	stack     unsafe.Pointer // see stacked
	// files become the process's descriptors 0, 1 and 2.
	files [3]uintptr
	// keep is copied to the lowest free descriptor from keepFrom on; 0: there is none to copy.
	keep, keepFrom uintptr
	// path is executed with argv and env; if the kernel doesn't recognise its format, shell is executed
	// with shellArgv.
	path, shell     *byte
	argv, shellArgv **byte
	env             **byte
	// pids are the places in env for the process's own pid, handles those for the inode number of its
	// pidfd. Each has room for the longest number.
	pids, handles [][]byte
	limit         *[2]uint64    // for open files; nil: left as it is
	mask          unix.Sigset_t // signals blocked when the command begins
	action        [8]uintptr    // room for a struct sigaction
	fresh         [8]uintptr    // a struct sigaction with SIG_DFL
	word          [8]byte       // a message to or from the other end of the socket
}

// live is the main function of a process that spawn has created. With only a launch, that is the launcher;
// with only an aside, the witness; with both, the adopter, which creates the launcher.
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

// stacked lays out a stack for spawn: on top are the address of live and live's arguments.
func stacked(memory []byte, l *launch, a *aside) unsafe.Pointer {
	const words, align = 4 * unsafe.Sizeof(uintptr(0)), 16
	end := uintptr(unsafe.Pointer(&memory[0])) + uintptr(len(memory))
	top := unsafe.Pointer(&memory[uintptr(len(memory))-end%align-words])
	*(*[3]uintptr)(top) = [3]uintptr{reflect.ValueOf(live).Pointer(), uintptr(unsafe.Pointer(l)), uintptr(unsafe.Pointer(a))}
	return top
}

// share creates a process that shares this one's memory or, in emulators without CLONE_VM (qemu-user),
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

// stackSize is more than a chain of nosplit functions may use.
const stackSize = 8 << 10

//go:norace
//go:nosplit
func rawExit(code uintptr) {
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
	}
}

// await returns when the command is to be executed. At end of file it exits: the supervising process
// has died or given up.
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

// prepare sets up the descriptors, environment, limits and signals that the command is to have.
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
	if l.keep != 0 {
		_, _, _ = syscall.RawSyscall(unix.SYS_FCNTL, l.keep, unix.F_DUPFD, l.keepFrom)
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
	// Handlers are reset to the default, as exec would do anyway; here it must happen before pending
	// signals are unblocked. Ignored signals stay ignored.
	for sig := uintptr(1); sig <= kernelSignals; sig++ {
		_, _, errno := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&l.action)), 8, 0, 0)
		if errno == 0 && l.action[0] > 1 { // a handler: neither SIG_DFL nor SIG_IGN
			_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&l.fresh)), 0, 8, 0, 0)
		}
	}
	_, _, _ = syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&l.mask)), 0, 8, 0, 0)
}

// execute executes the command, or reports why it could not.
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

// fail reports errno and exits. The exit code is for when nobody reads the report any more.
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

// writeDecimal writes n in decimal to a buffer with enough room.
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
