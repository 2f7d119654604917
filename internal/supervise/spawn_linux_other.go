//go:build linux && !amd64 && !arm64

package supervise

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ownStacks says that spawn heeds the stack. Here the process gets a copy of all memory, and runs on
// that of the caller's stack.
const ownStacks = false

// spawn makes a process (clone(2)) that runs live with what is at the top of a stack (see stacked). It returns the pid, or the negative number of an error, in the parent alone. Signals must
// be blocked.
//
//go:norace
//go:nocheckptr
//go:nosplit
func spawn(flags uintptr, stack unsafe.Pointer) (pid int) {
	first, second := flags&^unix.CLONE_VM, uintptr(0)
	if runtime.GOARCH == "s390x" { // they are swapped there
		first, second = second, first
	}
	made, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, first, second, 0, 0, 0, 0)
	if errno != 0 {
		return -int(errno)
	}
	if made == 0 {
		top := (*[3]unsafe.Pointer)(stack)
		run := live // the linker would add the stack that it takes to that of the caller
		run((*launch)(top[1]), (*aside)(top[2]))
	}
	return int(made)
}

// threadPointer isn't needed here.
func threadPointer() uintptr { return 0 }
