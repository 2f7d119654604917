package crowd

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
)

var (
	size   = flag.Int("crowd.n", 1000, "how many commands the parts `thousand` and `ongoing` use at most; the others use a share of it")
	rounds = flag.Int("crowd.rounds", 5, "how often each part is measured")
	window = flag.Duration("crowd.window", 20*time.Second, "for how long processor time is counted")
)

// BenchmarkCrowd measures each promise about many commands on one machine, and prints them as a table.
func BenchmarkCrowd(b *testing.B) {
	c := &bench{programs: build(b), table: &table{}}
	defer func() { c.table.print(os.Stdout) }()
	for _, part := range []struct {
		name    string
		measure func(*testing.B, *bench)
	}{
		{"thousand", thousand},
		{"reports", reports},
		{"ten", ten},
		{"silent", cost(0)},
		{"each-second", cost(1)},
		{"ongoing", ongoing},
		{"alone", compareAlone},
		{"queue", queue},
		{"postgres-90", atOnce},
		{"postgres-200", inTurns},
		{"postgres-cancel", cancels},
		{"pgbouncer-400", pooled},
	} {
		b.Run(part.name, func(b *testing.B) {
			for b.Loop() {
				part.measure(b, c)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A bench is what all parts use.
type bench struct {
	programs
	*table
}

type programs struct{ kapi, tick string }

// build builds kapi the way it is released, and the command that reports.
func build(b *testing.B) programs {
	folder := b.TempDir()
	kapi, err := kapitest.Build(folder)
	if err != nil {
		b.Fatal(err)
	}
	tick := filepath.Join(folder, "tick")
	if out, err := exec.Command("go", "build", "-o", tick, "./tick").CombinedOutput(); err != nil {
		b.Fatalf("go build ./tick: %v\n%s", err, out)
	}
	return programs{kapi, tick}
}

// share returns n if the size is the default, and as much less as the size is less.
func share(n int) int { return max(1, n**size/1000) }

// each runs f once for each round.
func each(what string, f func()) {
	for i := range *rounds {
		began := time.Now()
		f()
		fmt.Fprintf(os.Stderr, "  %s: round %d of %d took %.0f s\n", what, i+1, *rounds, time.Since(began).Seconds())
	}
}

// newStore makes a SQLite store and returns its name.
func newStore(b *testing.B, kapi string) string {
	store := "sqlite:" + filepath.Join(b.TempDir(), "kapi.db")
	alone(b, kapi, "--store", store, "run", "--", "true")
	return store
}

// alone runs a command to its end, and returns how long that took and how much processor time, with
// that of the processes that it waited for.
func alone(b *testing.B, name string, args ...string) (took, cpu time.Duration) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v", cmd, err)
	}
	return time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
