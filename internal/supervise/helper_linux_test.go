package supervise

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary plays the other processes, too: with helperVariable set, it is
// what that names.
const (
	helperVariable = "SUPERVISE_HELPER"
	graceVariable  = "SUPERVISE_GRACE"
	deadline       = 20 * time.Second

	// stopSignal is one that isn't passed on.
	stopSignal = syscall.SIGVTALRM
)

// report is what a supervising helper writes to its file 3 when it is done.
type report struct {
	Result Result
	Text   string
	Err    string
	Leak   string
}

func runHelper() {
	role := os.Getenv(helperVariable)
	if role == "" {
		return
	}
	os.Unsetenv(helperVariable)
	switch role {
	case "supervise":
		helpSupervise(os.Args[1:])
	case "shell":
		helpShell(os.Args[1:])
	case "count":
		helpCount()
	default:
		panic(role)
	}
	os.Exit(0)
}

// helpSupervise supervises its arguments. KAPI_ACTION is its process id. Its
// stopSignal makes it stop the tree.
func helpSupervise(args []string) {
	out := os.NewFile(3, "report")
	syscall.CloseOnExec(3)
	r := report{}
	defer func() { _ = json.NewEncoder(out).Encode(r) }()
	signals := Catch()
	path, err := Look(args[0])
	if err != nil {
		r.Err = err.Error()
		return
	}
	grace, _ := time.ParseDuration(os.Getenv(graceVariable))
	action := strconv.Itoa(os.Getpid())
	tree, err := Start(Command{
		Path: path, Args: args,
		Env:     Environ(os.Environ(), []string{graceVariable}, action, 7),
		Action:  action,
		Stderr:  os.Stderr,
		Signals: signals,
		Grace:   grace,
		Quiesce: func(f func()) {
			fmt.Println("quiet")
			f()
			fmt.Println("on")
		},
	})
	if err != nil {
		r.Err = err.Error()
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, stopSignal)
	ended := make(chan struct{})
	stopper := make(chan struct{})
	go func() {
		defer close(stopper)
		select {
		case <-stop:
			tree.Stop()
		case <-ended:
		}
	}()
	r.Result = tree.Wait()
	close(ended)
	<-stopper
	if err := r.Result.Err(); err != nil {
		r.Text = err.Error()
	}
	if err := goleak.Find(goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop")); err != nil {
		r.Leak = err.Error()
	}
}

// helpShell is as much of a shell as Ctrl-Z needs: it runs its arguments as a job
// in the foreground ("fg") or background ("bg", its first argument), says when the job was stopped, continues it on a line of
// input, and says how it ended.
func helpShell(args []string) {
	signal.Ignore(syscall.SIGTTOU)
	self, _ := os.Executable()
	pid, err := syscall.ForkExec(self, append([]string{self}, args[1:]...), &syscall.ProcAttr{
		Env:   append(os.Environ(), helperVariable+"=supervise"),
		Files: []uintptr{0, 1, 2, 3},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Foreground: args[0] == "fg"},
	})
	if err != nil {
		panic(err)
	}
	for {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil); errors.Is(err, syscall.EINTR) {
			continue
		}
		if !status.Stopped() {
			fmt.Println("ended", status.ExitStatus())
			return
		}
		fmt.Println("stopped by", int(status.StopSignal()))
		_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, os.Getpid())
		_, _ = bufio.NewReader(os.NewFile(4, "go on")).ReadString('\n')
		_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, pid)
		_ = syscall.Kill(-pid, syscall.SIGCONT)
	}
}

// helpCount counts the signals INT and TERM; USR1 makes it say how many and end.
func helpCount() {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR1)
	fmt.Println("counting", os.Getpid())
	counts := map[os.Signal]int{}
	for sig := range c {
		if sig == syscall.SIGUSR1 {
			fmt.Printf("INT %d TERM %d\n", counts[syscall.SIGINT], counts[syscall.SIGTERM])
			return
		}
		counts[sig]++
		fmt.Println("got", int(sig.(syscall.Signal)))
	}
}

// A helper is a helper process under test.
type helper struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string
	report *os.File
}

// supervised starts a helper that supervises a command; set may change its
// process before.
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
	h := &helper{t: t, cmd: exec.Command(self, args...), lines: make(chan string, 1000), report: r}
	h.cmd.Env = append(os.Environ(), helperVariable+"="+role)
	h.cmd.Stderr = os.Stderr
	h.cmd.ExtraFiles = []*os.File{w}
	// No terminal: signals are passed on whatever started this test.
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

// word returns a field of the next line.
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

// signal sends to the helper itself.
func (h *helper) signal(sig syscall.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
}

// done waits for the end of the tree.
func (h *helper) done() report {
	h.t.Helper()
	_ = h.report.SetReadDeadline(time.Now().Add(deadline))
	var r report
	if err := json.NewDecoder(h.report).Decode(&r); err != nil {
		h.t.Fatalf("no report: %v", err)
	}
	if r.Leak != "" {
		h.t.Errorf("goroutines are left: %s", r.Leak)
	}
	return r
}

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func alive(pid string) bool {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return false
	}
	_, ok := parentOf(n)
	return ok
}

// state is the letter that the kernel shows for a process.
func state(pid string) string {
	stat, _ := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(stat), ") ")
	letter, _, _ := strings.Cut(rest, " ")
	return letter
}
