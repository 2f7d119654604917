package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// BenchmarkOutput measures how fast a command's output passes through `kapi run`, which reads it for
// progress, beside `producer | cat >/dev/null`; and how much memory that takes for a gigabyte and more.
// The two alternate. There is so much output that the start of kapi, which BenchmarkRun measures,
// doesn't matter.
func BenchmarkOutput(b *testing.B) {
	const rounds = 21
	kapi := build(b)
	for _, c := range []struct{ name, producer string }{
		{"lines", "seq 1 60000000"},
		{"short-lines", "yes | head -c 600000000"},
		{"percentages", "yes loading 50% | head -c 600000000"},
		{"colours", `yes "$(printf '\033[31mred\033[0m')" | head -c 600000000`},
		{"one-line", "head -c 1000000000 /dev/zero"},
	} {
		b.Run(c.name, func(b *testing.B) {
			store := "sqlite:" + filepath.Join(b.TempDir(), "kapi.db")
			through := func(producer string) (float64, int64) {
				cmd := exec.Command("sh", "-c", `exec "$@" >/dev/null`, "sh", kapi, "--store", store, "run", "--", "sh", "-c", producer)
				cmd.Stderr = os.Stderr
				began := time.Now()
				if err := cmd.Run(); err != nil {
					b.Fatalf("%v: %v", cmd, err)
				}
				took := ms(time.Since(began))
				usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
				return took, usage.Maxrss
			}
			for b.Loop() {
				var piped, run []float64
				for range rounds {
					piped = append(piped, timed(b, "sh", "-c", c.producer+" | cat >/dev/null"))
					took, _ := through(c.producer)
					run = append(run, took)
				}
				b.ReportMetric(median(piped)/median(run), "of-cat")
				_, resident := through("for i in 1 2 3; do " + c.producer + "; done")
				b.ReportMetric(float64(resident)/1000, "MB-max")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
