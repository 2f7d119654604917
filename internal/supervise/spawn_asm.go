//go:build linux && (amd64 || arm64)

package supervise

import "unsafe"

// ownStacks says whether spawn runs the child on the given stack.
const ownStacks = true

// spawn creates a process (clone(2)) that runs live on the given stack, with the arguments on top of it
// (see stacked). It returns in the parent only: the pid, or a negative error number. Signals must be
// blocked.
//
//go:noescape
func spawn(flags uintptr, stack unsafe.Pointer) (pid int)

// threadPointer returns the thread pointer, where a C library, if there is one, keeps its data of the
// calling thread.
func threadPointer() uintptr
