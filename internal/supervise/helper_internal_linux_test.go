package supervise

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
)

// A helper is a process under test that runs one of the test binary's roles.
type helper struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   chan string
	results *os.File

	outcomes *json.Decoder
	first    *outcome // nil until it is read
}

// supervised starts a helper that supervises a command. Unless nil, set may change the helper's
// exec.Cmd first.
func supervised(t *testing.T, set func(*exec.Cmd), args ...string) *helper {
	t.Helper()
	return startHelper(t, "supervise", set, args...)
}

func startHelper(t *testing.T, role string, set func(*exec.Cmd), args ...string) *helper {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h := &helper{t: t, cmd: exec.Command(self, args...), lines: make(chan string, 1000), results: r}
	h.cmd.Env = append(os.Environ(), helperVariable+"="+role, "GORACE=atexit_sleep_ms=0")
	h.cmd.Stderr = os.Stderr
	h.cmd.ExtraFiles = []*os.File{w}
	// Without a controlling terminal signals are passed on, whatever terminal the tests run in.
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h.cmd.Stdout = in
	if set != nil {
		set(h.cmd)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	in.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(out); s.Scan(); {
			h.lines <- s.Text()
		}
		close(h.lines)
	}()
	t.Cleanup(func() {
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait()
		out.Close()
		r.Close()
		<-read
	})
	return h
}

// line returns the next line of the helper's standard output.
func (h *helper) line() string {
	h.t.Helper()
	select {
	case line, ok := <-h.lines:
		if !ok {
			h.t.Fatal("no more output")
		}
		return line
	case <-time.After(deadline):
		h.t.Fatal("no output")
	}
	return ""
}

// word returns field n of the next line.
func (h *helper) word(n int) string {
	h.t.Helper()
	line := h.line()
	words := strings.Fields(line)
	if len(words) <= n {
		h.t.Fatalf("got the line %q", line)
	}
	return words[n]
}

func (h *helper) expect(line string) {
	h.t.Helper()
	if got := h.line(); got != line {
		h.t.Fatalf("got the line %q, want %q", got, line)
	}
}

// signal signals the helper itself.
func (h *helper) signal(sig syscall.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
}

// ended returns the outcome when the tree has ended.
func (h *helper) ended() outcome {
	h.t.Helper()
	if h.first == nil {
		h.outcomes = json.NewDecoder(h.results)
		r := h.next()
		h.first = &r
	}
	return *h.first
}

// done waits until all output has been written.
func (h *helper) done() outcome {
	h.t.Helper()
	r := h.ended()
	if r.Err == "" {
		r = h.next()
	}
	if r.Leak != "" {
		h.t.Errorf("goroutines are left: %s", r.Leak)
	}
	return r
}

func (h *helper) next() (r outcome) {
	h.t.Helper()
	_ = h.results.SetReadDeadline(time.Now().Add(deadline))
	if err := h.outcomes.Decode(&r); err != nil {
		h.t.Fatalf("no report: %v", err)
	}
	return r
}

func alive(pid string) bool {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return false
	}
	_, ok := parentOf(n)
	return ok
}

// state returns the kernel's state letter of a process.
func state(pid string) string {
	stat, _ := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(stat), ") ")
	letter, _, _ := strings.Cut(rest, " ")
	return letter
}

// A screen collects what was written to a terminal.
type screen struct {
	t    *testing.T
	mu   sync.Mutex
	text strings.Builder
}

// watchScreen reads a pseudo-terminal's master until the test ends.
func watchScreen(t *testing.T, master *os.File) *screen {
	t.Helper()
	s := &screen{t: t}
	fd, err := syscall.Dup(int(master.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "screen")
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, err := f.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
			if err != nil && !errors.Is(err, syscall.EIO) {
				return
			}
			if err != nil {
				time.Sleep(time.Millisecond) // nobody has the terminal open
				_ = f.SetReadDeadline(time.Time{})
			}
		}
	})
	t.Cleanup(func() {
		f.Close()
		wg.Wait()
	})
	return s
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// wait waits until the text appears on the screen.
func (s *screen) wait(text string) {
	s.t.Helper()
	kapitest.Eventually(s.t, fmt.Sprintf("the screen was sent %q", text), func() bool {
		return strings.Contains(s.String(), text)
	}, s.String)
}
