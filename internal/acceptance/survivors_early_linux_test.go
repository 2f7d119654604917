package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
)

// TestKilledEarly has kapi run killed at the earliest moment that its command can choose, also by a
// command that leaves a daemon and ends.
func TestKilledEarly(t *testing.T) {
	t.Parallel()
	binary := buildKapi(t)
	for name, command := range map[string]string{
		"at once":       `exec >/dev/null 2>&1; kill -9 $PPID; exec sleep %s`,
		"a daemon left": `exec >/dev/null 2>&1; env -i A=b setsid sleep %s & sleep 0.02`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &stage{t: t, binary: binary, dir: t.TempDir()}
			s.store = "sqlite:" + filepath.Join(s.dir, "kapi.db")
			long := strconv.FormatInt(1_000_000*int64(os.Getpid()%2000)+10_000+sleeps.Add(1), 10)
			first := s.kapi(0, "--key", "k", "--leave-running", "--", "sh", "-c", fmt.Sprintf(command, long))
			first.gather()
			if name == "a daemon left" {
				kapitest.Eventually(t, "the daemon is there", func() bool { return workerOf(t, first.pid(), "sleep", long) != 0 })
				s.awaitRecorded(first, workerOf(t, first.pid(), "sleep", long))
				for _, pid := range append([]int{first.pid()}, descendants(t, first.pid())...) {
					if programOf(pid) == s.binary || programOf(pid) == "" {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
			}
			first.wait()
			worker := anywhere(t, "sleep", long)
			if worker == 0 {
				t.Fatal("there is no worker")
			}
			t.Cleanup(func() { _ = syscall.Kill(worker, syscall.SIGKILL) })
			for range 3 {
				if code, said := s.again("k"); code != 75 {
					t.Fatalf("while the worker lives, a second start exited with %d: %s", code, said)
				}
				time.Sleep(300 * time.Millisecond)
			}
			_ = syscall.Kill(worker, syscall.SIGKILL)
			kapitest.Eventually(t, "the key is free", func() bool {
				code, _ := s.again("k")
				return code == 0
			})
		})
	}
}

// anywhere returns the pid of such a process on this machine, 0 if there is none.
func anywhere(t *testing.T, program, argument string) (pid int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, _ := os.ReadFile(file)
		if string(line) == program+"\x00"+argument+"\x00" {
			pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return pid
}
