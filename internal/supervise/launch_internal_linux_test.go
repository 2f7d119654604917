package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// If kapi is killed before the command's process executes, nothing starts later.
func TestKilledBeforeTheCommandExecutes(t *testing.T) {
	t.Setenv(recordVariable, "hang")
	for _, kill := range []struct {
		name string
		how  func(h *helper)
	}{
		{"kapi", func(h *helper) { _ = h.cmd.Process.Kill() }},
		{"its group", func(h *helper) { h.signalGroup(syscall.SIGKILL) }},
		{"with a terminate that waits", func(h *helper) {
			h.signalGroup(syscall.SIGTERM)
			_ = h.cmd.Process.Kill()
		}},
	} {
		for _, before := range []string{"", "sleep 600 & "} { // the second case uses an adopter
			t.Run(kill.name+" "+before, func(t *testing.T) {
				marker := filepath.Join(t.TempDir(), "marker")
				h := behind(t, before, "touch", marker)
				pid := h.word(1)
				kill.how(h)
				kapitest.Eventually(t, "end of the launcher", func() bool { return !alive(pid) })
				if _, err := os.Stat(marker); err == nil {
					t.Error("the command was run")
				}
			})
		}
	}
}

// behind supervises a command in a process that a shell executes after running the commands in before.
func behind(t *testing.T, before string, args ...string) *helper {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := startHelperFrom(t, "/bin/sh", append([]string{"-c", before + `exec "$@"`, "sh", self}, args...)...)
	t.Cleanup(func() { _ = syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL) }) // ends what the shell left running
	return h
}

// The recorded pid is that of the process that becomes the command, and is recorded before it does.
func TestRecordedProcessIsTheCommand(t *testing.T) {
	t.Setenv(recordVariable, "yes")
	for _, before := range []string{"", "sleep 600 & "} {
		h := behind(t, before, "sh", "-c", "echo $$")
		if recorded, command := h.word(1), h.word(0); recorded != command {
			t.Errorf("%sgot %s and %s", before, recorded, command)
		}
		h.done()
	}
}

// If a command turns out not to be executable, its pid was recorded, but no process is left.
func TestCommandThatCannotBeExecuted(t *testing.T) {
	t.Setenv(recordVariable, "yes")
	dir := t.TempDir()
	lost := writeFile(t, filepath.Join(dir, "lost"), "#!/nonexistent/interpreter\n", 0o755)
	for _, before := range []string{"", "sleep 600 & "} {
		h := behind(t, before, lost)
		pid := h.word(1)
		if r, want := h.ended(), "the interpreter that it names does not exist"; !strings.Contains(r.Err, want) {
			t.Errorf("%sgot %q", before, r.Err)
		}
		if alive(pid) {
			t.Error("the command's process still exists")
		}
	}
}

// WATCHDOG_PID and others name the command's process, not kapi's.
func TestVariablesOfAServiceManager(t *testing.T) {
	set := "export WATCHDOG_PID=$$ LISTEN_PID=$$ SYSTEMD_EXEC_PID=$$; "
	show := "echo $$ $WATCHDOG_PID $LISTEN_PID $SYSTEMD_EXEC_PID"
	for _, before := range []string{set, set + "sleep 600 & "} {
		words := strings.Fields(behind(t, before, "sh", "-c", show).line())
		for i, word := range words[1:] {
			if word != words[0] {
				t.Errorf("%svariable %d: got %s, want %s", before, i, word, words[0])
			}
		}
	}
	// A variable that names another process is left alone.
	if got := behind(t, "export WATCHDOG_PID=1 LISTEN_PID=x; ", "sh", "-c", "echo $WATCHDOG_PID $LISTEN_PID").line(); got != "1 x" {
		t.Errorf("got %q", got)
	}
}

func TestHandleOfAServiceManager(t *testing.T) {
	t.Setenv(handleOfOwn, "yes")
	h := supervised(t, nil, "sh", "-c", "echo $$ $"+handleVariable+"; read go")
	words := strings.Fields(h.line())
	pid, _ := strconv.Atoi(words[0])
	want, err := handle(pid)
	if err != nil {
		t.Fatal(err)
	}
	if got := words[1]; got != strconv.FormatUint(want, 10) {
		t.Errorf("got %s, want %d", got, want)
	}
	fmt.Fprintln(h.in, "go")
	h.done()
}

// A service's sockets keep their descriptor numbers.
func TestDescriptorsOfAServiceManager(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	h := supervised(t, func(cmd *exec.Cmd) { cmd.ExtraFiles = append(cmd.ExtraFiles, w) }, "readlink", "/proc/self/fd/4")
	want, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(w.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	h.expect(want)
	h.done()
}

// The command gets the limit of open files from before Go's runtime raised it.
func TestLimitOfOpenFilesIsInherited(t *testing.T) {
	h := behind(t, "ulimit -Sn 123; ulimit -Hn 456; ", "sh", "-c", "echo $(ulimit -Sn) $(ulimit -Hn)")
	h.expect("123 456")
	h.done()
}

// The file to keep is open in the command and in what it starts, beyond the sockets that are passed on, and nothing
// else is that wasn't before.
func TestFileIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kept")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(keepVariable, file)
	const list = `for fd in /proc/$$/fd/*; do [ "$(readlink $fd)" = "$0" ] && echo ${fd##*/}; done; true`
	for before, want := range map[string]string{
		"":                                     "200",
		"sleep 600 & ":                         "200", // an adopter stands between
		"export LISTEN_FDS=300; ":              "303",
		"export LISTEN_FDS=x; ":                "200",
		"ulimit -n 60; ":                       "45",
		"ulimit -Sn 123; ulimit -Hn 456; ":     "93",
		"ulimit -n 60; export LISTEN_FDS=58; ": "none", // there is no room
	} {
		h := behind(t, before, "sh", "-c", `found=$(sh -c '`+list+`' `+file+`); echo ${found:-none}`)
		if got := h.line(); got != want {
			t.Errorf("%q: it has the number %s, want %s", before, got, want)
		}
		if r := h.done(); r.Result.Code != 0 {
			t.Errorf("%q: %q", before, r.Text)
		}
	}
}

// An orphan of a child that existed before kapi isn't the command's, although kapi adopts it.
func TestOrphansOfOthersAreNotWaitedFor(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// The orphan exists when the command runs, and ends last.
	h := behind(t, `(sleep 600 & echo $! >`+fifo+`) & `, "sh", "-c", `read -r pid <`+fifo+`; echo $pid; exit 6`)
	orphan := h.word(0)
	if r := h.done(); r.Result.Code != 6 {
		t.Errorf("got %q, want exit status 6", r.Text)
	}
	if !alive(orphan) {
		t.Error("the orphan was killed too")
	}
}

// As the first process of a container, kapi adopts orphans that others leave in it.
func TestFirstProcessOfAContainer(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("entering a PID namespace takes root")
	}
	h := supervised(t, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWPID}
	}, "sh", "-c", "echo up; read go; exit 6")
	h.expect("up")
	enter := exec.Command("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!") // docker exec
	if out, err := within(h.cmd.Process.Pid, enter); err != nil || strings.TrimSpace(string(out)) == "" {
		t.Fatalf("%q, %v", out, err)
	}
	fmt.Fprintln(h.in, "go")
	if r := h.done(); r.Result.Code != 6 {
		t.Errorf("got %q, want exit status 6", r.Text)
	}
}

// within runs a command in the PID namespace of a process.
func within(pid int, cmd *exec.Cmd) (out []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var fd int
		if fd, err = unix.Open(fmt.Sprintf("/proc/%d/ns/pid", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		if err = unix.Setns(fd, unix.CLONE_NEWPID); err == nil {
			out, err = cmd.Output()
		}
	}()
	<-done
	return out, err
}

// With an adopter everything works as without one.
func TestAdoptedCommand(t *testing.T) {
	const before = "sleep 600 & "
	t.Run("signals", func(t *testing.T) {
		h := behind(t, before, "sh", "-c", "exec "+selfAs(t, "tally"))
		h.word(1)
		h.signal(syscall.SIGTERM)
		h.expect("got 15")
		h.signalGroup(syscall.SIGUSR1)
		h.expect("got 10")
		h.nothingElse()
	})
	t.Run("killed by a signal", func(t *testing.T) {
		if r := behind(t, before, "sh", "-c", "kill -KILL $$").done(); r.Result.Code != 137 {
			t.Errorf("got %d %q", r.Result.Code, r.Text)
		}
	})
	t.Run("stopped", func(t *testing.T) {
		h := behind(t, before, "sh", "-c", `setsid sh -c 'trap "echo asked; exit" TERM; echo up; while :; do sleep 0.01; done' & wait`)
		h.expect("up")
		h.signal(stopSignal)
		h.expect("asked")
		h.done()
	})
	t.Run("without its adopter", func(t *testing.T) {
		h := behind(t, before, "sh", "-c", "echo $PPID; read go; exit 6")
		adopter, _ := strconv.Atoi(h.word(0))
		if adopter == h.cmd.Process.Pid {
			t.Fatal("there is no adopter")
		}
		if err := syscall.Kill(adopter, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		kapitest.Eventually(t, "end of the adopter", func() bool { return !alive(strconv.Itoa(adopter)) })
		h.signalGroup(syscall.SIGCONT) // harmless
		for _, pid := range h.children() {
			if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(name)) == "sleep" {
				_ = syscall.Kill(pid, syscall.SIGKILL) // kapi waits for it now
			}
		}
		fmt.Fprintln(h.in, "go")
		if r := h.done(); r.Result.Code != 6 {
			t.Errorf("got %q, want exit status 6", r.Text)
		}
	})
}
