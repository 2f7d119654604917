package main

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"
)

// While a command runs, the garbage collector is set to keep memory small, whatever the environment says: GOGC
// is meant for the command. A short command doesn't pay for it.
func TestSlim(t *testing.T) {
	const inherited = 400
	before := debug.SetGCPercent(inherited)
	defer debug.SetGCPercent(before)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 50))
	synctest.Test(t, func(t *testing.T) {
		stop := slim()
		time.Sleep(slimAfter - 1)
		stop()
		time.Sleep(time.Minute)
		if got := debug.SetGCPercent(inherited); got != inherited {
			t.Errorf("after a short command GC percent is %d, want %d", got, inherited)
		}
		defer slim()()
		time.Sleep(slimAfter)
		synctest.Wait()
		if got := debug.SetGCPercent(inherited); got >= 100 {
			t.Errorf("while a command runs GC percent is %d", got)
		}
		if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
			t.Errorf("while a command runs the memory limit is %d", got)
		}
	})
}
