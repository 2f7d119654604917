package crowd

import (
	"fmt"
	"testing"
)

// cost returns what measures the cost of one command among 1, 10, 100 and 400, which report hz times a second or say
// nothing (0).
func cost(hz float64) func(*testing.B, *bench) {
	return func(b *testing.B, c *bench) {
		sizes := []int{1, share(10), share(100), share(400)}
		all, used := make([]tally, len(sizes)), newFigures(len(sizes))
		each(b.Name(), func() {
			store := newStore(b, c.kapi)
			for i, n := range sizes {
				used.add(i, 100*perProcess(b, c, store, n, hz, &all[i]))
			}
		})
		for i, n := range sizes {
			what := fmt.Sprintf("%d silent", n)
			if hz > 0 {
				what = fmt.Sprintf("%d at %g Hz", n, hz)
			}
			used.rows(c.part(b, what, &all[i]), i, "processor of each", "% of a core", 1.5)
		}
	}
}

// figures are samples for each of several sizes, and their ratios to those of the first size.
type figures struct{ samples, ratios [][]float64 }

func newFigures(sizes int) *figures {
	return &figures{make([][]float64, sizes), make([][]float64, sizes)}
}

// add adds a sample. In each turn the first size comes first.
func (f *figures) add(size int, sample float64) {
	f.samples[size] = append(f.samples[size], sample)
	turn := len(f.samples[size]) - 1
	f.ratios[size] = append(f.ratios[size], sample/f.samples[0][turn])
}

// rows adds the rows for a size, whose ratio to the first size, 1, must not exceed a limit.
func (f *figures) rows(p part, size int, what, unit string, limit float64) {
	if size > 0 {
		p.atMost(what+" / the same with 1", "", f.ratios[size], limit)
	}
	p.note(what, unit, f.samples[size])
}
