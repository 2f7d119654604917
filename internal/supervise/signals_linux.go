package supervise

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// systemSignals returns the signals that only Linux has.
func systemSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGPWR}
	// The first real-time signals belong to C libraries, and Go leaves them alone.
	for n := 35; n <= 64; n++ {
		signals = append(signals, syscall.Signal(n))
	}
	return signals
}

// ignored says whether this process ignores a signal. signal.Ignored is wrong about those that stop and
// continue, which Go's runtime doesn't handle until somebody asks for them.
func ignored(sig os.Signal) bool {
	number, ok := sig.(syscall.Signal)
	if !ok || signal.Ignored(sig) {
		return ok
	}
	set, ok := signalSet(os.Getpid(), "SigIgn")
	return ok && set>>(uint(number)-1)&1 == 1
}

// stopSelf stops this process and returns when it has been continued. The signal goes to the calling
// thread, which would otherwise run on for a moment after sending it.
func stopSelf() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP)
}
