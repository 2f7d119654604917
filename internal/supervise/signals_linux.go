package supervise

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// systemSignals are those that Linux has besides.
func systemSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGPWR}
	// The first real-time signals belong to C libraries; Go leaves them alone.
	for n := 35; n <= 64; n++ {
		signals = append(signals, syscall.Signal(n))
	}
	return signals
}

// ignored says whether this process ignores a signal. Of those that stop and continue, which
// Go's runtime leaves alone until they are asked for, os/signal doesn't know it.
func ignored(sig os.Signal) bool {
	number, ok := sig.(syscall.Signal)
	if !ok || signal.Ignored(sig) {
		return ok
	}
	set, ok := signalSet(os.Getpid(), "SigIgn")
	return ok && set>>(uint(number)-1)&1 == 1
}

// stopSelf returns when this process was continued. The signal goes to the
// calling thread, so that it doesn't run on for a moment after having sent it.
func stopSelf() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP)
}
