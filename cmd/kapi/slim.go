package main

import (
	"math"
	"runtime/debug"
	"time"
)

// slimAfter is how long a command has run when slim takes effect. Shorter ones don't pay for it.
const slimAfter = 3 * time.Second

// slim keeps small what this process uses while it waits for a command: there may be thousands of them. It returns
// the memory that starting the command took, and lets little garbage pile up from then on. The garbage collector's
// settings in the environment are meant for the command, so they don't count. stop ends the wait.
func slim() (stop func() bool) {
	return time.AfterFunc(slimAfter, func() {
		debug.SetGCPercent(50)
		debug.SetMemoryLimit(math.MaxInt64)
		debug.FreeOSMemory()
	}).Stop
}
