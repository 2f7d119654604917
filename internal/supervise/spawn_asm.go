//go:build linux && (amd64 || arm64)

package supervise

import "unsafe"

// ownStacks says that spawn heeds the stack.
const ownStacks = true

// spawn makes a process (clone(2)) that runs live with what is at the top of a stack (see stacked), on
// that stack. It returns the pid, or the negative number of an error, in the parent alone. Signals
// must be blocked.
//
//go:noescape
func spawn(flags uintptr, stack unsafe.Pointer) (pid int)

// threadPointer is where the C library, if there is one, has what it knows of the calling thread.
func threadPointer() uintptr
