package crowd

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var old = flag.String("crowd.old", "", "part `alone`: path of an older kapi to compare with")

// compareAlone compares one `kapi run -- true` at a time with that of an older binary, and the older one with itself, in
// turns. Each has a store of its own.
func compareAlone(b *testing.B, c *bench) {
	if *old == "" {
		fmt.Fprintln(os.Stderr, "  alone: left out, as it needs an older kapi to compare with: -crowd.old PATH")
		b.SkipNow()
	}
	const runs = 21
	path, err := filepath.Abs(*old)
	if err != nil {
		b.Fatal(err)
	}
	programs := []string{path, path, c.kapi}
	var stores []string
	for _, program := range programs {
		stores = append(stores, newStore(b, program))
	}
	wall, cpu := newFigures(len(programs)), newFigures(len(programs))
	each("alone", func() {
		for range runs {
			for i, program := range programs {
				took, used := alone(b, program, "--store", stores[i], "run", "--", "true")
				wall.add(i, 1000*took.Seconds())
				cpu.add(i, 1000*used.Seconds())
			}
		}
	})
	for _, f := range []struct {
		what string
		*figures
	}{{"duration", wall}, {"processor", cpu}} {
		p := part{c.table, "`kapi run -- true` alone: " + f.what, &tally{}}
		p.note("new", "ms", f.samples[2])
		p.note("old / old", "", f.ratios[1])
		p.note("new / old", "", f.ratios[2])
	}
}
