package supervise

import (
	"os"
	"os/signal"
	"runtime"
	"slices"
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

// heeded returns those of the signals that this process doesn't ignore. signal.Ignored is wrong about those that
// stop and continue, which Go's runtime doesn't handle until somebody asks for them.
func heeded(signals []os.Signal) []os.Signal {
	set, known := signalSet(os.Getpid(), "SigIgn")
	return slices.DeleteFunc(signals, func(sig os.Signal) bool {
		number, ok := sig.(syscall.Signal)
		return ok && (signal.Ignored(sig) || known && set>>(uint(number)-1)&1 == 1)
	})
}

// stopSelf stops this process and returns when it has been continued. The signal goes to the calling
// thread, which would otherwise run on for a moment after sending it.
func stopSelf() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP)
}
