package crowd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A fleet is many processes at once, started one directly after the other. Each runs a command that writes its
// index to a FIFO when it begins.
type fleet struct {
	b       *testing.B
	folder  string
	kapi    string // what counts as kapi's: processes of this program
	log     *os.File
	begun   *os.File
	started time.Time
	runs    []*exec.Cmd
	exited  []bool
	late    map[int]bool // those that awaitBegun no longer waits for

	reading sync.WaitGroup
	mu      sync.Mutex
	times   map[int]time.Time // of the begin, by index
}

// newFleet returns a fleet without processes.
func newFleet(b *testing.B, kapi string) *fleet {
	f := &fleet{b: b, folder: b.TempDir(), kapi: kapi, times: map[int]time.Time{}}
	fifo := filepath.Join(f.folder, "begun")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		b.Fatal(err)
	}
	var err error
	if f.begun, err = os.OpenFile(fifo, os.O_RDWR, 0); err != nil { // read and write: it never ends
		b.Fatal(err)
	}
	if f.log, err = os.Create(filepath.Join(f.folder, "stderr")); err != nil {
		b.Fatal(err)
	}
	f.reading.Go(func() {
		for lines := bufio.NewScanner(f.begun); lines.Scan(); {
			if i, err := strconv.Atoi(lines.Text()); err == nil {
				f.mu.Lock()
				f.times[i] = time.Now()
				f.mu.Unlock()
			}
		}
	})
	b.Cleanup(func() {
		f.end()
		_ = errors.Join(f.begun.Close(), f.log.Close())
		f.reading.Wait()
	})
	return f
}

// sleeper returns a command that says that it has begun and sleeps.
func (f *fleet) sleeper(i int, seconds float64) []string {
	return []string{"sh", "-c", `echo "$0" >"$1"; exec sleep "$2"`, strconv.Itoa(i), f.begun.Name(), fmt.Sprint(seconds)}
}

// key returns a key that no other fleet has.
func (f *fleet) key(i int) string { return fmt.Sprintf("%s-k%d", filepath.Base(f.folder), i) }

// start starts n processes.
func (f *fleet) start(n int, command func(i int) []string) {
	f.started = time.Now()
	for i := range n {
		args := command(i)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stderr = f.log
		cmd.Env = append(os.Environ(), "HOME="+f.folder)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
		if err := cmd.Start(); err != nil {
			f.b.Fatal(err)
		}
		f.runs, f.exited = append(f.runs, cmd), append(f.exited, false)
	}
}

// awaitBegun waits until the commands of all have begun, except of those that have ended, and returns how
// long after the start of the first the last one began. After a time it stops waiting.
func (f *fleet) awaitBegun() time.Duration {
	const limit = 3 * time.Minute
	for {
		time.Sleep(20 * time.Millisecond)
		f.late = map[int]bool{}
		begun := f.begins()
		for i := range f.runs {
			if _, ok := begun[i]; !ok && !f.ended(i) {
				f.late[i] = true
			}
		}
		if len(f.late) == 0 || time.Since(f.started) > limit {
			break
		}
	}
	last := f.started
	for _, at := range f.begins() {
		if at.After(last) {
			last = at
		}
	}
	return last.Sub(f.started)
}

// begins returns when each command has begun.
func (f *fleet) begins() map[int]time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	begun := make(map[int]time.Time, len(f.times))
	for i, at := range f.times {
		begun[i] = at
	}
	return begun
}

// ended reports whether a process has ended. It leaves it to Wait.
func (f *fleet) ended(i int) bool {
	if f.exited[i] {
		return true
	}
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, f.runs[i].Process.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	f.exited[i] = err == nil && info.Signo != 0
	return f.exited[i]
}

// terminate asks all to end, waits until they have, and counts those that were not ended by that.
func (f *fleet) terminate(all *tally) {
	for i, run := range f.runs {
		if !f.ended(i) {
			_ = run.Process.Signal(syscall.SIGTERM)
		}
	}
	f.count(all, 128+int(syscall.SIGTERM))
}

// count waits until all have ended, and counts the exit codes that are wrong.
func (f *fleet) count(all *tally, want int) {
	for i, run := range f.runs {
		all.runs++
		_ = run.Wait()
		switch code := run.ProcessState.ExitCode(); {
		case f.late[i]:
			all.late++
		case code != want:
			if all.wrong == nil {
				all.wrong = map[int]int{}
			}
			all.wrong[code]++
		}
	}
	if all.message == "" && all.refused() > 0 {
		all.message = f.complaint()
	}
	f.runs, f.exited, f.late = nil, nil, nil
}

// end ends whatever still runs, with the commands.
func (f *fleet) end() {
	for i, run := range f.runs {
		if !f.ended(i) {
			_ = syscall.Kill(-run.Process.Pid, syscall.SIGTERM)
		}
	}
	for _, run := range f.runs {
		_ = run.Wait()
	}
	f.runs, f.exited, f.late = nil, nil, nil
}

// complaint returns the first line on stderr that says more than that the end of a command is recorded later.
func (f *fleet) complaint() string {
	text, _ := io.ReadAll(io.NewSectionReader(f.log, 0, 1<<20))
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "can't be recorded yet; retrying") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// said returns the beginning of what the processes have written to stderr.
func (f *fleet) said() string {
	text := make([]byte, 500)
	n, _ := f.log.ReadAt(text, 0)
	return string(text[:n])
}
