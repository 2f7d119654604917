package acceptance

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"

	"github.com/kettubot/kapi/internal/kapitest"
)

// A terminal runs a program, and knows what its user would see.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	width  int

	mu      sync.Mutex
	raw     strings.Builder
	rows    [][]rune
	x, y    int
	escape  string // the unfinished escape sequence
	erased  int    // how often rows were erased
	overrun bool   // a line was wider than the terminal
	done    chan struct{}
}

// onTerminal starts a command of kapi on a terminal of that size.
func (k *installation) onTerminal(width, height int, args ...string) *terminal {
	k.t.Helper()
	cmd := exec.Command(k.binary, append(args, "--store", k.store)...)
	cmd.Env = append([]string{"TERM=xterm"}, k.env...)
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)})
	if err != nil {
		k.t.Fatal(err)
	}
	term := &terminal{t: k.t, cmd: cmd, master: master, width: width, rows: [][]rune{nil}, done: make(chan struct{})}
	go term.follow()
	k.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = master.Close()
		<-term.done
	})
	return term
}

// resize changes the terminal's size, and the program is told.
func (t *terminal) resize(width, height int) {
	t.t.Helper()
	t.mu.Lock()
	t.width = width
	t.mu.Unlock()
	if err := pty.Setsize(t.master, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)}); err != nil {
		t.t.Fatal(err)
	}
}

func (t *terminal) follow() {
	defer close(t.done)
	piece := make([]byte, 4096)
	for {
		n, err := t.master.Read(piece)
		t.mu.Lock()
		for _, r := range string(piece[:n]) { // the tests write ASCII
			t.raw.WriteRune(r)
			t.put(r)
		}
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (t *terminal) put(r rune) {
	switch {
	case t.escape != "":
		t.escape += string(r)
		if r != '[' && (r >= '@' && r <= '~') {
			t.control(strings.TrimPrefix(t.escape, "\x1b["))
			t.escape = ""
		}
	case r == '\x1b':
		t.escape = "\x1b"
	case r == '\r':
		t.x = 0
	case r == '\n':
		t.y++
		if t.y == len(t.rows) {
			t.rows = append(t.rows, nil)
		}
	default:
		row := t.rows[t.y]
		for len(row) <= t.x {
			row = append(row, ' ')
		}
		row[t.x] = r
		t.rows[t.y] = row
		t.x++
		t.overrun = t.overrun || t.x >= t.width
	}
}

func (t *terminal) control(sequence string) {
	n, _ := strconv.Atoi(sequence[:len(sequence)-1])
	switch sequence[len(sequence)-1] {
	case 'A':
		t.y -= n
	case 'J':
		t.erased++
		t.rows = append(t.rows[:t.y], t.rows[t.y][:min(t.x, len(t.rows[t.y]))])
	case 'm':
	default:
		t.t.Errorf("an unknown control sequence: %q", sequence)
	}
}

// screen returns what can be seen, down to the cursor.
func (t *terminal) screen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for _, row := range t.rows {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	return strings.Join(lines, "\n")
}

func (t *terminal) await(what string, seen func(screen string) bool) {
	t.t.Helper()
	defer func() {
		if t.t.Failed() {
			t.t.Logf("the screen:\n%s", t.screen())
		}
	}()
	kapitest.Eventually(t.t, what, func() bool { return seen(t.screen()) })
}

// end presses Ctrl-C and returns the exit code.
func (t *terminal) end() int {
	t.t.Helper()
	if _, err := t.master.WriteString("\x03"); err != nil {
		t.t.Fatal(err)
	}
	return t.wait()
}

func (t *terminal) wait() int {
	_ = t.cmd.Wait()
	<-t.done
	return t.cmd.ProcessState.ExitCode()
}
