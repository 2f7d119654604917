package proc

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
)

// start runs a command until the test ends and returns its identity.
func start(t *testing.T, cmd *exec.Cmd) Identity {
	t.Helper()
	// A group of its own, so that the clean-up reaches the grandchildren too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	})
	return identify(t, cmd.Process.Pid)
}

func identify(t *testing.T, pid int) Identity {
	t.Helper()
	st, err := system.stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	id := Self()
	id.PID, id.StartTime = pid, st.start
	return id
}

func wantLife(t *testing.T, id Identity, want Life) {
	t.Helper()
	if got := id.Life(); got != want {
		t.Errorf("life of %+v: %v, want %v", id, got, want)
	}
}

func kill(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

func TestSelfIsProvable(t *testing.T) {
	id := Self()
	if id.BootID == "" || id.PIDNamespace == "" || id.StartTime == 0 {
		t.Fatalf("Self() = %+v, want all of it", id)
	}
	wantLife(t, id, Alive)
}

func TestLifeOfAProcess(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	id := start(t, cmd)
	wantLife(t, id, Alive)
	if id.Stopped() {
		t.Error("stopped before SIGSTOP")
	}

	kill(t, id.PID, syscall.SIGSTOP)
	kapitest.Eventually(t, "the process stops", id.Stopped)
	wantLife(t, id, Alive)
	kill(t, id.PID, syscall.SIGCONT)
	kapitest.Eventually(t, "the process continues", func() bool { return !id.Stopped() })

	kill(t, id.PID, syscall.SIGKILL)
	kapitest.Eventually(t, "the process is a zombie", func() bool { return id.Life() == Gone })
	if st, err := system.stat(id.PID); err != nil || st.state != 'Z' {
		t.Errorf("status of a killed process that nobody reaped: %+v, %v", st, err)
	}
	if id.Stopped() {
		t.Error("a zombie is called stopped")
	}

	cmd.Wait()
	wantLife(t, id, Gone)
}

func TestLifeOfAnother(t *testing.T) {
	alive := start(t, exec.Command("sleep", "1000"))
	for name, c := range map[string]struct {
		change func(*Identity)
		want   Life
	}{
		"the pid was given out again": {func(id *Identity) { id.StartTime-- }, Gone},
		"another host's name":         {func(id *Identity) { id.Host = "elsewhere" }, Alive},
		"another boot":                {func(id *Identity) { id.BootID = "5b0c0e0c-0000-4000-8000-000000000000" }, Unknown},
		"another namespace":           {func(id *Identity) { id.PIDNamespace = "pid:[1] time:[1]" }, Unknown},
		"no boot":                     {func(id *Identity) { id.BootID = "" }, Unknown},
		"no namespace":                {func(id *Identity) { id.PIDNamespace = "" }, Unknown},
		"no start time":               {func(id *Identity) { id.StartTime = 0 }, Unknown},
		"no pid":                      {func(id *Identity) { id.PID = 0 }, Unknown},
		"a group instead of a pid":    {func(id *Identity) { id.PID = -id.PID }, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			id := alive
			c.change(&id)
			wantLife(t, id, c.want)
			if id.Stopped() {
				t.Error("called stopped")
			}
		})
	}
}

func TestExecKeepsTheIdentity(t *testing.T) {
	id := start(t, exec.Command("sh", "-c", "exec sleep 1000"))
	kapitest.Eventually(t, "the shell becomes sleep", func() bool {
		st, err := system.stat(id.PID)
		return err == nil && st.name == "sleep"
	})
	wantLife(t, id, Alive)
}

// leaderless tells the test binary to end its first thread and live on.
const leaderless = "KAPI_TEST_LEADERLESS"

// Locked before main, the main goroutine stays on the process's first thread.
func init() {
	if os.Getenv(leaderless) != "" {
		runtime.LockOSThread()
	}
}

func loseLeader() bool {
	if os.Getenv(leaderless) == "" {
		return false
	}
	go func() {
		// Ends with the test, whatever becomes of its clean-up.
		os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0) // this thread only
	return true
}

func TestAProcessOutlivesItsFirstThread(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	nonce := NewNonce()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), leaderless+"=1", NonceVariable+"="+nonce)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	id := start(t, cmd)
	kapitest.Eventually(t, "the first thread ends", func() bool {
		st, err := system.stat(id.PID)
		return err == nil && st.dead()
	})
	wantLife(t, id, Alive)
	if left := remains(t, Work{Mark: MarkOf(nonce)}); len(left.Sure) != 1 || left.Sure[0].PID != id.PID {
		t.Errorf("remains %+v, want pid %d", left, id.PID)
	}
	kill(t, id.PID, syscall.SIGSTOP)
	kapitest.Eventually(t, "the process stops", id.Stopped)
	kill(t, id.PID, syscall.SIGKILL)
	kapitest.Eventually(t, "all threads end", func() bool { return id.Life() == Gone })
}

func TestWithoutAProcOfOurs(t *testing.T) {
	hidden := procfs(t.TempDir())
	id := Self()
	if life, _ := hidden.look(id, id); life != Unknown {
		t.Errorf("life of a process that exists but isn't shown: %v, want unknown", life)
	}
	id.PID = 1 << 30 // above any kernel's limit
	if life, _ := hidden.look(id, id); life != Gone {
		t.Errorf("life of a pid that isn't in use: %v, want gone", life)
	}
	if table, err := (hidden + "/none").table(); err == nil {
		t.Errorf("the processes without /proc: %v, want an error", table)
	}

	if err := os.Symlink("1234567", hidden.path("self")); err != nil {
		t.Fatal(err)
	}
	want := Identity{Host: id.Host, PID: os.Getpid()}
	if got, err := hidden.self(); got != want || err == nil {
		t.Errorf("self by the pids of another namespace: %+v, %v, want %+v and why", got, err, want)
	}
}

func TestParseStat(t *testing.T) {
	shown := func(name string, state byte) stat {
		return stat{pid: 12, name: name, state: state, parent: 7, group: 8, session: 9, flags: 2097152, threads: 3, start: 19900}
	}
	const rest = " 7 8 9 4 5 2097152 7 8 9 10 11 12 13 14 15 16 3 18 19900 20 21\n"
	for name, c := range map[string]struct {
		line string
		want stat // zero: an error
	}{
		"plain":       {"12 (sleep) S" + rest, shown("sleep", 'S')},
		"blanks":      {"12 (tmux: a server) R" + rest, shown("tmux: a server", 'R')},
		"parentheses": {"12 (a) Z (b) c)) S" + rest, shown("a) Z (b) c)", 'S')},
		"newline":     {"12 (a\nb) T" + rest, shown("a\nb", 'T')},
		"no name":     {"12 () S" + rest, shown("", 'S')},
		"empty":       {"", stat{}},
		"cut":         {"12 (sleep) S 1 2 3", stat{}},
		"name only":   {"12 (sleep", stat{}},
		"no pid":      {"x (sleep) S" + rest, stat{}},
		"bad start":   {strings.Replace("12 (sleep) S"+rest, "19900", "-1", 1), stat{}},
		"wrong order": {") (", stat{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat(c.line)
			if got != c.want || (err != nil) != (c.want == stat{}) {
				t.Errorf("parseStat(%q) = %+v, %v, want %+v", c.line, got, err, c.want)
			}
		})
	}
}
