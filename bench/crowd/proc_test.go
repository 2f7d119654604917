package crowd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process is one of kapi's.
type process struct{ pid, parent int }

// processes returns the fleet's processes of kapi: those of `kapi run` and the helpers that they fork. The
// commands that they run are not among them.
func (f *fleet) processes() []process {
	mine := map[int]bool{}
	for _, run := range f.runs {
		mine[run.Process.Pid] = true
	}
	var all []process
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		if exe, err := os.Readlink(folder + "/exe"); err != nil || exe != f.kapi {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(folder))
		stat, err := os.ReadFile(folder + "/stat")
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if parent, _ := strconv.Atoi(fields[1]); mine[pid] || mine[parent] {
			all = append(all, process{pid, parent})
		}
	}
	return all
}

// cpu returns the processor time that the fleet's processes of kapi use in the window together, in cores.
func (f *fleet) cpu() float64 {
	all := f.processes()
	before, began := sum(all), time.Now()
	time.Sleep(*window)
	return float64(sum(all)-before) / float64(time.Since(began))
}

// sum returns the processor time of processes until now, by the kernel's clock for each: user and system time
// in /proc/PID/stat are the same in hundredths of a second, of which a silent process uses one in many seconds.
func sum(all []process) (total time.Duration) {
	for _, p := range all {
		var t unix.Timespec
		const scheduled = 2 // CPUCLOCK_SCHED of clock_getcpuclockid(3)
		if err := unix.ClockGettime(int32(^p.pid<<3|scheduled), &t); err == nil {
			total += time.Duration(t.Nano())
		}
	}
	return total
}

// memory returns the private memory of each run, with its helpers, in MB (10^6 bytes).
func (f *fleet) memory() []float64 {
	runs := map[int]float64{}
	for i, run := range f.runs {
		if !f.ended(i) {
			runs[run.Process.Pid] = 0
		}
	}
	for _, p := range f.processes() {
		run := p.pid
		if _, ok := runs[run]; !ok {
			run = p.parent
		}
		runs[run] += field(p.pid, "smaps_rollup", "Private_Clean:") + field(p.pid, "smaps_rollup", "Private_Dirty:")
	}
	var all []float64
	for _, mb := range runs {
		all = append(all, mb)
	}
	return all
}

// field returns a number of kB from a file in /proc/PID, in MB (10^6 bytes).
func field(pid int, file, name string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0 // it has ended
	}
	_, rest, _ := strings.Cut(string(text), name)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(fields[0])
	return float64(kib) * 1024 / 1e6
}
