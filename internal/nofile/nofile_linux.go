package nofile

import (
	"runtime"
	"unsafe"
)

// original is read before package syscall, which raises the limit, is initialised. Packages are
// initialised in the order of their import paths, each as soon as everything that it imports is
// ("Package initialization" in Go's specification). So this package may import neither syscall nor
// anything that imports it. TestOriginal fails if the order changes.
var original = read()

//go:linkname rawSyscall6 syscall.RawSyscall6
func rawSyscall6(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr)

func read() (l limits) {
	const nofile = 7 // RLIMIT_NOFILE
	var now struct{ soft, hard uint64 }
	_, _, errno := rawSyscall6(prlimit64(), 0, nofile, 0, uintptr(unsafe.Pointer(&now)), 0, 0)
	runtime.KeepAlive(&now)
	return limits{now.soft, now.hard, errno == 0}
}

// prlimit64 returns the number of the system call, since package syscall can't be imported.
func prlimit64() uintptr {
	switch runtime.GOARCH {
	case "amd64":
		return 302
	case "386":
		return 340
	case "arm":
		return 369
	case "ppc64", "ppc64le":
		return 325
	case "s390x":
		return 334
	}
	return 261 // arm64, loong64, riscv64 and all later ones
}
