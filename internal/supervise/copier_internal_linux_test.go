package supervise

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// numbers is the output of seq 1 n.
func numbers(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.Bytes()
}

// toPipe gives a helper a pipe as standard output. Nobody reads it until the test does.
func toPipe(t *testing.T, args ...string) (h *helper, r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return supervised(t, looking(TTYAuto, func(cmd *exec.Cmd) { cmd.Stdout = w }), args...), r, w
}

// fill writes to a pipe until it is full.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	kapitest.Eventually(t, "the pipe is full", func() bool { return !Takes(w) })
}

// all reads a pipe until end of file, which comes when the helper ends.
func (h *helper) all(r, w *os.File) []byte {
	h.t.Helper()
	w.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		h.t.Fatal(err)
	}
	return got
}

// A process that shares our output may make it non-blocking while we run.
func TestOutputThatWasMadeNonBlocking(t *testing.T) {
	h, r, w := toPipe(t, "sh", "-c", "read go; exec seq 1 300000")
	if err := unix.SetNonblock(int(w.Fd()), true); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(h.in, "go\n")
	fill(t, w)
	if got, want := h.all(r, w), numbers(300000); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes that differ from the %d written", len(got), len(want))
	}
	if got := h.done(); got.Lost != "" || got.Text != "" {
		t.Errorf("got %+v", got)
	}
}

// The tree ends although nobody reads its output, which can still be read afterwards.
func TestReaderThatIsStuck(t *testing.T) {
	const n = 30000
	h, r, w := toPipe(t, "seq", "1", fmt.Sprint(n))
	if got := h.ended(); got.Text != "" || !slices.Contains(got.Lines, fmt.Sprint(n)) {
		t.Errorf("got %q and %d lines", got.Text, len(got.Lines))
	}
	if got, want := h.all(r, w), numbers(n); !bytes.Equal(got, want) {
		t.Errorf("got %d bytes that differ from the %d written", len(got), len(want))
	}
	h.done()
}

// A stuck reader doesn't keep signals from the command, and slows the command down while it lives.
func TestSignalsWhileTheReaderIsStuck(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, stopSignal} {
		h, r, w := toPipe(t, "seq", "1", "100000000")
		fill(t, w)
		h.signal(sig)
		if got := h.ended(); got.Result.Signal != syscall.SIGTERM {
			t.Errorf("got %q, want a death by SIGTERM", got.Text)
		}
		got := h.all(r, w)
		if most := 2*pipeSize + copyBuffer; len(got) > most || !bytes.HasPrefix(got, numbers(10000)) {
			t.Errorf("got %d bytes, want %d at most", len(got), most)
		}
		checkNumbers(t, got)
		h.done()
	}
}

// checkNumbers checks that the numbers from 1 on are complete, except possibly the last one.
func checkNumbers(t *testing.T, p []byte) {
	t.Helper()
	n := 0
	for s := bufio.NewScanner(bytes.NewReader(p[:bytes.LastIndexByte(p, '\n')])); s.Scan(); {
		if n++; s.Text() != fmt.Sprint(n) {
			t.Fatalf("line %d is %q", n, s.Text())
		}
	}
}

// The reader may also go away.
func TestReaderThatIsStuckAndGoes(t *testing.T) {
	h, r, w := toPipe(t, "seq", "1", "30000")
	h.ended()
	w.Close()
	r.Close()
	if got := h.done(); got.Text != "" || got.Lost != "" {
		t.Errorf("got %+v", got)
	}
}

func TestOutputToAFullDisk(t *testing.T) {
	disk, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	got := supervised(t, looking(TTYAuto, func(cmd *exec.Cmd) { cmd.Stdout = disk }), "seq", "1000").ended()
	if want := "/dev/stdout: no space left on device"; got.Lost != want || got.Text != "" {
		t.Errorf("got %q, lost %q, want %q", got.Text, got.Lost, want)
	}
}

// A full disk may have space again later.
func TestFullDiskIsTriedAgain(t *testing.T) {
	to, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	c := &copier{to: to}
	if !c.pass([]byte("lost\n")) || c.loss() == nil {
		t.Fatalf("got the loss %v", c.loss())
	}
	file := writeFile(t, filepath.Join(t.TempDir(), "file"), "", 0o644)
	room, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer room.Close()
	if err := unix.Dup3(int(room.Fd()), int(to.Fd()), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	c.pass([]byte("kept\n"))
	if got, _ := os.ReadFile(file); string(got) != "kept\n" {
		t.Errorf("got %q", got)
	}
}

// A terminal that is hung up is hung up for the command too, which may continue or not.
func TestTerminalThatIsHungUp(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	h := supervised(t, looking(TTYAuto, func(cmd *exec.Cmd) { cmd.Stdout = slave }),
		"sh", "-c", "echo up; read go; while echo two 2>/dev/null; do :; done; exit 5")
	if up, err := bufio.NewReader(master).ReadString('p'); err != nil {
		t.Fatalf("got %q: %v", up, err)
	}
	master.Close()
	_, _ = io.WriteString(h.in, "go\n")
	if got := h.done(); got.Result.Code != 5 || got.Lost != "" {
		t.Errorf("got %q, lost %q", got.Text, got.Lost)
	}
}
