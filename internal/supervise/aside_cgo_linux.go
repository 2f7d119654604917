//go:build cgo

package supervise

import "runtime"

// droppable is where a process may give memory back. The C library has told the kernel of memory of a
// thread's (rseq(2)), which the kernel writes to on the way back from system calls; the process must
// not lose that. It lies above, as all does that is put where the kernel likes, or behind the program.
// Go's heap lies between.
func droppable() span {
	if runtime.GOARCH != "amd64" { // where memory ends is not known elsewhere
		return span{}
	}
	from, to := uint64(1<<38), uint64(1<<46) // constants would be too large for other processors
	return span{uintptr(from), uintptr(to)}
}
