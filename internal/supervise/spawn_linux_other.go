//go:build linux && !amd64 && !arm64

package supervise

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ownStacks says whether spawn runs the child on the given stack. Here the child gets a copy of all
// memory and runs on the copy of the caller's stack.
const ownStacks = false

// spawn creates a process (clone(2)) that runs live with the arguments on top of the stack (see
// stacked). It returns in the parent only: the pid, or a negative error number. Signals must be
// blocked.
//
//go:norace
//go:nocheckptr
//go:nosplit
func spawn(flags uintptr, stack unsafe.Pointer) (pid int) {
	first, second := flags&^unix.CLONE_VM, uintptr(0)
	if runtime.GOARCH == "s390x" { // s390x takes the arguments in the other order
		first, second = second, first
	}
	made, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, first, second, 0, 0, 0, 0)
	if errno != 0 {
		return -int(errno)
	}
	if made == 0 {
		top := (*[3]unsafe.Pointer)(stack)
		run := live // a direct call would add live's stack use to the caller's in the linker's check
		run((*launch)(top[1]), (*aside)(top[2]))
	}
	return int(made)
}

// threadPointer returns 0: it isn't needed here.
func threadPointer() uintptr { return 0 }
