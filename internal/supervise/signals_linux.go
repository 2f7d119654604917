package supervise

import (
	"os"
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

// stopSelf returns when this process was continued. The signal goes to the
// calling thread, so that it doesn't run on for a moment after having sent it.
func stopSelf() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP)
}
