package supervise

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// looking has a helper scan standard output too.
func looking(mode TTY, set func(*exec.Cmd)) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, outputVariable+"="+strconv.Itoa(int(mode)))
		if set != nil {
			set(cmd)
		}
	}
}

// allOnTerminal makes the terminal the helper's controlling terminal, and its standard input, output
// and error.
func allOnTerminal(slave *os.File) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		onTerminal(slave)(cmd)
		cmd.Stdout, cmd.Stderr = slave, slave
	}
}

func TestOutputIsCopiedByteForByte(t *testing.T) {
	random := make([]byte, 3<<20)
	chacha := rand.NewChaCha8(sha256.Sum256([]byte(t.Name())))
	_, _ = chacha.Read(random)
	file := writeFile(t, filepath.Join(t.TempDir(), "random"), string(random), 0o644)
	for _, mode := range []TTY{TTYAuto, TTYNever, TTYAlways} {
		var stdout bytes.Buffer
		h := supervised(t, looking(mode, func(cmd *exec.Cmd) { cmd.Stdout = &stdout }), "cat", file)
		h.done()
		_ = h.cmd.Wait()
		if !bytes.Equal(stdout.Bytes(), random) {
			t.Errorf("mode %d: got %d bytes that differ from the %d written", mode, stdout.Len(), len(random))
		}
	}
}

func TestOutputThatNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	got := supervised(t, looking(TTYAuto, func(cmd *exec.Cmd) { cmd.Stdout = w }), "yes").done()
	if got.Result.Signal != syscall.SIGPIPE {
		t.Errorf("got %q, want a death by SIGPIPE", got.Text)
	}
}

// If standard output and error are one file, the order of what is written is kept.
func TestOrderOfOutputIsKept(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "both"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	h := supervised(t, looking(TTYAuto, func(cmd *exec.Cmd) { cmd.Stdout, cmd.Stderr = file, file }),
		"sh", "-c", "i=0; while [ $i -lt 1000 ]; do echo $i; i=$((i+1)); echo $i >&2; i=$((i+1)); done; exit 3")
	if got, want := h.done().Text, "exit status 3: 999"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintln(&want, i)
	}
	if got, _ := os.ReadFile(file.Name()); string(got) != want.String() {
		t.Errorf("got %q", got)
	}
}

func TestPipesStayPipes(t *testing.T) {
	h := supervised(t, looking(TTYAuto, nil), "sh", "-c", "for f in 1 2; do test -t $f && echo terminal || echo none; done")
	h.expect("none")
	h.expect("none")
	h.done()
}

func TestLinesAreSeen(t *testing.T) {
	h := supervised(t, looking(TTYAuto, nil), "sh", "-c", `printf 'one\ntwo\r'; printf three >&2; sleep 0.5; printf four`)
	r := h.done()
	slices.Sort(r.Lines)
	if want := []string{"four", "one", "three", "two"}; !slices.Equal(r.Lines, want) {
		t.Errorf("got %q, want %q", r.Lines, want)
	}
}

// resize sets the terminal's size. Unlike Fd, it doesn't change the mode of the file.
func resize(t *testing.T, master *os.File, size *unix.Winsize) {
	t.Helper()
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if controlErr := raw.Control(func(fd uintptr) { err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) }); controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
}

// The command gets a terminal of the right size, and its output is not altered.
func TestTerminalIsKept(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	resize(t, master, &unix.Winsize{Row: 33, Col: 101})
	screen := watchScreen(t, master)
	h := supervised(t, looking(TTYAuto, allOnTerminal(slave)), "sh", "-c",
		`trap 'stty size <&1' WINCH; for f in 0 1 2; do test -t $f && echo $f; done; stty size <&1; stty size <&2; tty </dev/tty >/dev/null && echo own; while :; do read -r x; [ "$x" = end ] && echo "got $x" && exit 5; done`)
	screen.wait("0\r\n1\r\n2\r\n33 101\r\n33 101\r\nown\r\n")
	resize(t, master, &unix.Winsize{Row: 44, Col: 90})
	screen.wait("44 90\r\n")
	_, _ = master.WriteString("end\n")
	screen.wait("got end\r\n")
	if r := h.done(); r.Result.Code != 5 || r.Result.LastLine != "got end" {
		t.Errorf("got %+v", r.Result)
	}
}

func TestCtrlCOnATerminal(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	screen := watchScreen(t, master)
	h := supervised(t, looking(TTYAuto, allOnTerminal(slave)), "sh", "-c", "trap 'n=$((n+1)); echo caught $n' INT; echo up; while :; do read -r x; [ \"$x\" = end ] && exit 4; done")
	screen.wait("up")
	_, _ = master.Write([]byte{3})
	screen.wait("caught 1")
	_, _ = master.WriteString("end\n")
	if r := h.done(); r.Result.Code != 4 {
		t.Errorf("got %+v", r.Result)
	}
	if strings.Contains(screen.String(), "caught 2") {
		t.Error("the signal arrived twice")
	}
}

// A full-screen program sets modes on its output: they must reach the real terminal and be undone at
// the end.
func TestModesAreHandedOn(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	screen := watchScreen(t, master)
	echo := func() bool {
		modes, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return modes.Lflag&unix.ECHO != 0
	}
	h := supervised(t, looking(TTYAuto, allOnTerminal(slave)), "sh", "-c", "stty -echo <&1; echo quiet; read -r x; exit 6")
	screen.wait("quiet")
	kapitest.Eventually(t, "no echo", func() bool { return !echo() })
	_, _ = master.WriteString("go\n")
	if r := h.done(); r.Result.Code != 6 {
		t.Errorf("got %+v", r.Result)
	}
	if !echo() {
		t.Error("the terminal was left without echo")
	}
}

// Modes are handed on even if nothing is written.
func TestModesAreHandedOnInSilence(t *testing.T) {
	_, slave := kapitest.Terminal(t)
	modes := func() *unix.Termios {
		modes, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return modes
	}
	before := *modes()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	h := supervised(t, looking(TTYAuto, allOnTerminal(slave)), "sh", "-c", `stty -echo -onlcr <&1; read -r x <"$0"`, fifo)
	kapitest.Eventually(t, "the modes", func() bool {
		now := modes()
		return now.Lflag == before.Lflag&^unix.ECHO && now.Oflag == before.Oflag&^unix.ONLCR
	})
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	h.done()
	if after := *modes(); after != before {
		t.Errorf("the terminal was left as %+v, was %+v", after, before)
	}
}

// The kernel may signal a resize before the pseudo-terminal has the new size, so all of the tree is
// told afterwards.
func TestAllOfTheTreeLearnsTheSize(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	resize(t, master, &unix.Winsize{Row: 33, Col: 101})
	screen := watchScreen(t, master)
	h := supervised(t, looking(TTYAuto, allOnTerminal(slave)), "sh", "-c",
		`sh -c 'trap "stty size <&1" WINCH; echo up; while :; do read -r x && exit 5; done'; exit $?`)
	screen.wait("up")
	resize(t, master, &unix.Winsize{Row: 44, Col: 90})
	screen.wait("44 90\r\n")
	_, _ = master.WriteString("end\n")
	if r := h.done(); r.Result.Code != 5 {
		t.Errorf("got %+v", r.Result)
	}
}

func TestTTYAlways(t *testing.T) {
	h := supervised(t, looking(TTYAlways, nil), "sh", "-c", "for f in 1 2; do test -t $f && echo terminal || echo none; done; stty size <&1")
	h.expect("terminal")
	h.expect("terminal")
	h.expect("24 80")
	h.done()
}

func TestTTYNever(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	screen := watchScreen(t, master)
	h := supervised(t, looking(TTYNever, allOnTerminal(slave)), "sh", "-c", "test -t 1 || echo none")
	screen.wait("none\r\n")
	h.done()
}
