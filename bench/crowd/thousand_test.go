package crowd

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// thousand measures many commands that sleep: their start, what they use while they sleep, and their end.
func thousand(b *testing.B, c *bench) {
	n := *size
	var all tally
	var starts, flocks, versus, first, cores, most, usual, ends []float64
	each("thousand", func() {
		store := newStore(b, c.kapi)
		oneByOne := inTurn(b, n, c.kapi, "--store", store, "run", "--", "true")
		f := newFleet(b, c.kapi)
		f.start(n, f.asleep(c, store))
		began := f.awaitBegun()
		starts = append(starts, began.Seconds()/oneByOne.Seconds())
		early, asleep := f.atRest()
		first, cores = append(first, 100*early), append(cores, 100*asleep)
		memory := f.memory()
		most, usual = append(most, quantile(memory, 1)), append(usual, median(memory))
		asked := time.Now()
		f.terminate(&all)
		ends = append(ends, time.Since(asked).Seconds()/oneByOne.Seconds())
		flock := flockAll(b, n)
		flocks = append(flocks, flock)
		versus = append(versus, began.Seconds()/flock)
	})
	p := c.part(b, fmt.Sprintf("%d asleep", n), &all)
	p.atMost("all begun / that many `kapi run -- true` in turn", "", starts, 1)
	p.note("all begun / all `flock FILE sleep` begun", "", versus)
	p.note("all `flock FILE sleep` begun", "s", flocks)
	p.atMost("processor of all while they sleep", "% of a core", cores, 25)
	p.note(fmt.Sprintf("processor of all in the first %v", *window), "% of a core", first)
	p.atMost("private memory, the most of one", "MB", most, 6)
	p.note("private memory, the median", "MB", usual)
	p.note("all ended / that many `kapi run -- true` in turn", "", ends)
}

// asleep returns the commands of a fleet of `kapi run` that sleep, each with a key of its own.
func (f *fleet) asleep(c *bench, store string) func(i int) []string {
	return func(i int) []string {
		return append([]string{c.kapi, "--store", store, "run", "--key", f.key(i), "--"}, f.sleeper(i, forever)...)
	}
}

const (
	// forever is longer than a round takes, in seconds.
	forever = 3600
	// settling is the time between the start of a crowd and measurements of it at rest.
	settling = 5 * time.Second
	// resting is how long a crowd at rest is measured: some of what the processes do, they do seldom.
	resting = time.Minute
)

// atRest returns the processor time that the fleet's processes of kapi use together, in cores: from now on for the
// window, and for a minute from when they have settled.
func (f *fleet) atRest() (early, asleep float64) {
	all := f.processes()
	began := time.Now()
	used := func(until time.Duration) time.Duration {
		time.Sleep(until - time.Since(began))
		return sum(all)
	}
	before, settled := used(0), used(settling)
	settledAt := time.Since(began)
	atWindow := used(max(*window, settling))
	early = float64(atWindow-before) / float64(time.Since(began))
	end := used(settling + resting)
	return early, float64(end-settled) / float64(time.Since(began)-settledAt)
}

// inTurn runs a command n times, and returns how long that took.
func inTurn(b *testing.B, n int, name string, args ...string) (took time.Duration) {
	for range n {
		t, _ := alone(b, name, args...)
		took += t
	}
	return took
}

// flockAll starts as many commands under flock, each with a file of its own, and returns how many seconds it
// takes until all have begun.
func flockAll(b *testing.B, n int) float64 {
	f := newFleet(b, "")
	f.start(n, func(i int) []string {
		return append([]string{"flock", filepath.Join(f.folder, fmt.Sprintf("lock-%d", i))}, f.sleeper(i, forever)...)
	})
	began := f.awaitBegun()
	f.end()
	return began.Seconds()
}
