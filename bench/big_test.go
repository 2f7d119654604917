package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/sqlite"
)

// sizes are the numbers of ongoing actions that BenchmarkBig compares. The first is the measure of the others.
var sizes = []int{1, 1_000, 10_000, 100_000}

// mixed returns a crowd of about n ongoing actions: half of them run elsewhere, a quarter has failed, the others are
// in queues, long and short ones.
func mixed(n int) Crowd {
	const eighth = 8
	return Crowd{Remote: max(n/2, 1), Failed: n / 4, OneQueue: n / eighth, Queues: n / (2 * eighth)}
}

// BenchmarkBig measures how commands fare beside many ongoing actions. `kapi run -- true`, with a key of its own and
// without, must not cost more beside 100,000 than beside one; lists cost in proportion to their length. The sizes
// alternate, and the results are medians of ratios to the smallest.
func BenchmarkBig(b *testing.B) {
	const rounds, listRounds = 11, 3
	kapi := build(b)
	for b.Loop() {
		var paths []string
		for _, n := range sizes {
			paths = append(paths, crowded(b, mixed(n)))
		}
		for name, args := range map[string][]string{"run": {"run", "--", "true"}, "run-key": {"run", "--key", "mine", "--", "true"}} {
			compareSizes(b, kapi, name, paths, rounds, args)
		}
		compareSizes(b, kapi, "ls", paths, listRounds, []string{"ls"})
		compareSizes(b, kapi, "ls-json", paths, listRounds, []string{"ls", "--json"})
		for i, path := range paths {
			bigServe(b, kapi, path, sizes[i])
		}
	}
	b.ReportMetric(0, "ns/op")
}

// crowded returns the path of a new store with a crowd.
func crowded(b *testing.B, c Crowd) string {
	path := filepath.Join(b.TempDir(), "kapi.db")
	s, err := sqlite.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() }) // no command is the last to close it, which would check the whole log
	if err := Fill(kapitest.Within(b), s, c); err != nil {
		b.Fatal(err)
	}
	return path
}

// compareSizes runs a command on stores of each size in turn.
func compareSizes(b *testing.B, kapi, name string, paths []string, rounds int, args []string) {
	times, memory := make([][]float64, len(paths)), make([][]float64, len(paths))
	for range rounds {
		for i, path := range paths {
			cmd := exec.Command(kapi, append([]string{"--store", "sqlite:" + path}, args...)...)
			cmd.Stderr = os.Stderr
			began := time.Now()
			if err := cmd.Run(); err != nil {
				b.Fatalf("%v: %v", cmd, err)
			}
			took := ms(time.Since(began))
			times[i] = append(times[i], took)
			memory[i] = append(memory[i], float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)*1024/1e6)
		}
	}
	for i, n := range sizes {
		var ratios, grown []float64
		for round := range rounds {
			ratios = append(ratios, times[i][round]/times[0][round])
			grown = append(grown, memory[i][round]/memory[0][round])
		}
		b.ReportMetric(median(times[i]), fmt.Sprintf("%s-%d-ms", name, n))
		if i > 0 {
			b.ReportMetric(median(ratios), fmt.Sprintf("%s-%d-ratio", name, n))
			b.ReportMetric(median(grown), fmt.Sprintf("%s-%d-memory-ratio", name, n))
		}
	}
}

// bigServe measures `kapi serve`: the time until it is ready, and for a list that nobody has asked for before, one
// that has changed by one action, and one that has not changed; and its memory then.
func bigServe(b *testing.B, kapi, path string, n int) {
	out, err := exec.Command(kapi, "--store", "sqlite:"+path, "token", "create", "--name", "bench", "--perms", "admin").Output()
	if err != nil {
		b.Fatal(err)
	}
	secret := strings.TrimSpace(string(out))
	s := serve(b, kapi, path)
	defer s.stop()
	list := func() float64 {
		began := time.Now()
		s.list(secret)
		return ms(time.Since(began))
	}
	first := list()
	var changed, same []float64
	for range 5 {
		timed(b, kapi, "--store", "sqlite:"+path, "run", "--", "true")
		changed = append(changed, list())
		same = append(same, list())
	}
	b.ReportMetric(s.ready, fmt.Sprintf("serve-%d-ready-ms", n))
	b.ReportMetric(first, fmt.Sprintf("serve-%d-first-list-ms", n))
	b.ReportMetric(median(changed), fmt.Sprintf("serve-%d-list-ms", n))
	b.ReportMetric(median(same), fmt.Sprintf("serve-%d-same-list-ms", n))
	b.ReportMetric(s.resident(), fmt.Sprintf("serve-%d-MB", n))
}
