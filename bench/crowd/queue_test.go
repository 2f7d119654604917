package crowd

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// queue measures how long a key takes from one waiting command to the next, beside flock with one file.
func queue(b *testing.B, c *bench) {
	n := share(100)
	var all, locked tally
	var ours, theirs, ratios []float64
	each("queue", func() {
		store := newStore(b, c.kapi)
		kapi := handOver(b, c.kapi, n, &all, c.kapi, "--store", store, "run", "--key", "queue", "--wait", "--release-on-failure", "--")
		flock := handOver(b, c.kapi, n, &locked, "flock", filepath.Join(b.TempDir(), "queue"))
		ours, theirs, ratios = append(ours, kapi), append(theirs, flock), append(ratios, kapi/flock)
	})
	p := c.part(b, fmt.Sprintf("%d in a queue for a key", n), &all)
	p.note("from one to the next", "ms", ours)
	p.note("from one to the next / the same with `flock FILE`", "", ratios)
	c.part(b, fmt.Sprintf("%d in a queue for `flock FILE`", n), &locked).note("from one to the next", "ms", theirs)
}

// handOver starts n commands that do nothing, while another has what they wait for, and returns how many ms
// one after the other takes once that has ended.
func handOver(b *testing.B, kapi string, n int, all *tally, how ...string) float64 {
	f := newFleet(b, kapi)
	holder := newFleet(b, kapi)
	holder.start(1, func(i int) []string { return append(slices.Clone(how), holder.sleeper(i, forever)...) })
	holder.awaitBegun()
	f.start(n, func(i int) []string { return append(slices.Clone(how), f.sleeper(i, 0)...) })
	time.Sleep(settling + time.Duration(n)*50*time.Millisecond) // until all wait
	holder.end()
	last := f.started.Add(f.awaitBegun())
	first := last
	for _, at := range f.begins() {
		if at.Before(first) {
			first = at
		}
	}
	f.count(all, 0)
	return 1000 * last.Sub(first).Seconds() / float64(max(1, n-1))
}
