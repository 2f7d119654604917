package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"time"
)

// slimAfter is how long a command has run when slim takes effect. Shorter ones don't pay for it.
const slimAfter = 3 * time.Second

// slim keeps small what this process uses while it waits for a command: there may be thousands of them. It returns
// the memory that starting the command took, lets little garbage pile up from then on, and runs one thread at a time:
// with more, each wake-up wakes others for nothing. The garbage collector's settings in the environment are meant for
// the command, so they don't count. stop ends the wait.
func slim() (stop func() bool) {
	return time.AfterFunc(slimAfter, func() {
		debug.SetGCPercent(50)
		debug.SetMemoryLimit(math.MaxInt64)
		debug.FreeOSMemory()
		runtime.GOMAXPROCS(1)
	}).Stop
}
