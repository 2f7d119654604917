package peer

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Each round tries an action once, at most so many at once; one that is still being tried is tried again afterwards.
func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rounds
		r.init()
		var now, most, tried atomic.Int64
		try := func(string) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			time.Sleep(time.Second)
			tried.Add(1)
		}
		var ids []string
		for i := range 5 * claimsAtOnce {
			ids = append(ids, fmt.Sprint(i))
		}
		r.begin(ids, try)
		time.Sleep(time.Second / 2)
		r.begin(ids, try) // those that wait are tried once
		began := time.Now()
		r.wait()
		if took := time.Since(began); took != 6*time.Second-time.Second/2 || most.Load() != claimsAtOnce || tried.Load() != 6*claimsAtOnce {
			t.Errorf("after %v: %d were tried, %d at once", took, tried.Load(), most.Load())
		}
		r.begin(ids[:1], try)
		r.wait()
		if len(r.begun) != 0 || r.working != 0 || tried.Load() != 6*claimsAtOnce+1 {
			t.Errorf("there are left %v, %d goroutines, and %d were tried", r.begun, r.working, tried.Load())
		}
	})
}
