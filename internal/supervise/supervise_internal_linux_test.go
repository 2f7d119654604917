package supervise

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

func TestResults(t *testing.T) {
	for _, c := range []struct {
		name, script string
		code         int
		text         string
	}{
		{"success", "echo fine >&2", 0, ""},
		{"failure", "echo 'no space left' >&2; exit 3", 3, "exit status 3: no space left"},
		{"silent failure", "exit 255", 255, "exit status 255"},
		{"signal", "printf 'half a line' >&2; kill -KILL $$", 137, "killed by signal 9 (SIGKILL): half a line"},
		{"real-time signal", "kill -35 $$", 163, "killed by signal 35 (signal 35)"},
		{"128 and more is a status, too", "exit 143", 143, "exit status 143"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := supervised(t, func(cmd *exec.Cmd) { cmd.Stderr = nil }, "sh", "-c", c.script).done()
			if r.Result.Code != c.code || r.Text != c.text {
				t.Errorf("got %d %q, want %d %q", r.Result.Code, r.Text, c.code, c.text)
			}
		})
	}
}

func TestInputAndOutputAreTheSameFiles(t *testing.T) {
	dir := t.TempDir()
	in, err := os.Open(writeFile(t, filepath.Join(dir, "in"), "x", 0o644))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	// Descriptors that this test was started with are open in every process.
	const list = "readlink /proc/self/fd/0 /proc/self/fd/1; ls /proc/self/fd"
	plain := exec.Command("sh", "-c", list)
	plain.Stdin, plain.Stderr = in, os.Stderr
	fds, err := plain.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, fds, _ = bytes.Cut(fds, []byte("]\n"))
	r := supervised(t, func(cmd *exec.Cmd) { cmd.Stdin, cmd.Stdout = in, out }, "sh", "-c", list).done()
	if r.Text != "" {
		t.Fatal(r.Text)
	}
	got, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	if want := in.Name() + "\n" + out.Name() + "\n" + string(fds); string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// If somebody made a file non-blocking, it stays so: others have it open, too.
func TestModeOfInputIsKept(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	raw, err := r.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	blocking := func() (blocks bool) {
		_ = raw.Control(func(fd uintptr) {
			flags, _ := unix.FcntlInt(fd, unix.F_GETFL, 0)
			blocks = flags&unix.O_NONBLOCK == 0
		})
		return blocks
	}
	h := supervised(t, func(cmd *exec.Cmd) { cmd.Stdin = r }, "cat")
	_ = raw.Control(func(fd uintptr) { _ = unix.SetNonblock(int(fd), true) }) // exec.Cmd made it blocking
	w.Close()
	h.done()
	if blocking() {
		t.Error("the input was made blocking")
	}
}

func TestErrorOutputIsCopiedByteForByte(t *testing.T) {
	random := make([]byte, 3<<20)
	chacha := rand.NewChaCha8(sha256.Sum256([]byte(t.Name())))
	_, _ = chacha.Read(random)
	file := writeFile(t, filepath.Join(t.TempDir(), "random"), string(random), 0o644)
	var stderr bytes.Buffer
	h := supervised(t, func(cmd *exec.Cmd) { cmd.Stderr = &stderr }, "sh", "-c", "cat "+file+" >&2; exit 1")
	h.done()
	_ = h.cmd.Wait()
	if !bytes.Equal(stderr.Bytes(), random) {
		t.Errorf("got %d bytes that differ from the %d written", stderr.Len(), len(random))
	}
}

// A program that writes to a pipe without a reader must learn that, as it would without kapi.
func TestErrorOutputThatNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	got := supervised(t, func(cmd *exec.Cmd) { cmd.Stderr = w }, "sh", "-c", "exec yes >&2").done()
	if got.Result.Signal != syscall.SIGPIPE {
		t.Errorf("got %q, want a death by SIGPIPE", got.Text)
	}
}

func TestErrorOutputToAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	got := supervised(t, func(cmd *exec.Cmd) { cmd.Stderr = full }, "sh", "-c", "seq 100000 >&2; exit 4").ended()
	if want := "exit status 4: 100000"; got.Text != want {
		t.Errorf("got %q, want %q", got.Text, want)
	}
	if want := "/dev/stderr: no space left on device"; got.Lost != want {
		t.Errorf("got the loss %q, want %q", got.Lost, want)
	}
}

// execvp(3) does the same.
func TestScriptWithoutAnInterpreter(t *testing.T) {
	script := writeFile(t, filepath.Join(t.TempDir(), "script"), "echo \"$0\" \"$@\"; exit 3", 0o755)
	h := supervised(t, nil, script, "a b", "c")
	h.expect(script + " a b c")
	if r := h.done(); r.Result.Code != 3 {
		t.Errorf("got %q, want exit status 3", r.Text)
	}
}

// A process outside the tree may have got hold of the pipe.
func TestErrorOutputHeldByAStranger(t *testing.T) {
	h := supervised(t, func(cmd *exec.Cmd) { cmd.Stderr = nil },
		"sh", "-c", "echo $$; read go; seq 1000 >&2; exit 5")
	pipe, err := os.OpenFile("/proc/"+h.line()+"/fd/2", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	_, _ = io.WriteString(h.in, "go\n")
	if got, want := h.done().Text, "exit status 5: 1000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEndsWithTheWholeTree(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// A daemon with no file, no group and no environment in common with the command.
	daemon := `setsid env -i /bin/sh -c 'echo daemon $$ >"$1"; read go <"$1"; echo daemon done >"$2"' sh "$1" "$2" </dev/null >/dev/null 2>&1 &`
	last := filepath.Join(t.TempDir(), "last")
	h := supervised(t, nil, "sh", "-c", "echo $$; ("+daemon+"); exit 4", "sh", fifo, last)
	command := h.line()
	kapitest.Eventually(t, "end of the command", func() bool { return !alive(command) })
	started, err := os.ReadFile(fifo)
	if err != nil {
		t.Fatal(err)
	}
	if pid := strings.Fields(string(started))[1]; !alive(pid) || !alive(strconv.Itoa(h.cmd.Process.Pid)) {
		t.Fatalf("the daemon %s or its supervisor has ended too early", pid)
	}
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	if r := h.done(); r.Result.Code != 4 {
		t.Errorf("got %q, want the command's own end", r.Text)
	}
	if got, _ := os.ReadFile(last); string(got) != "daemon done\n" {
		t.Errorf("Wait returned before the daemon ended: %q", got)
	}
}

// A shell that starts kapi with exec may leave it children.
func TestChildrenOfBeforeAreNotWaitedFor(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := startHelperFrom(t, "/bin/sh", "-c", `sleep 60 & echo $!; exec "$@"`, "sh",
		self, "sh", "-c", "(sleep 0.01; exit 0) & exit 6")
	before := h.line()
	if r := h.done(); r.Result.Code != 6 {
		t.Errorf("got %q, want exit status 6", r.Text)
	}
	if !alive(before) {
		t.Error("the earlier child was killed too")
	}
	if pid, err := strconv.Atoi(before); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func startHelperFrom(t *testing.T, program string, args ...string) *helper {
	t.Helper()
	return supervised(t, func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = program, append([]string{program}, args...)
	})
}
