package acceptance

import (
	"bufio"
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

	"github.com/kettubot/kapi/internal/kapitest"
)

// A process is one that a test started. It is killed when the test ends, unless it has ended.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	// lines are its lines of standard output; closed at its end.
	lines  chan string
	stderr *kapitest.Output
	ended  chan struct{} // closed once it has been reaped
	reap   func()        // waits for its end; may be called again
}

// role starts the test binary in a role. wrap, if not empty, is a command to run it with.
func role(t *testing.T, name string, args []string, wrap ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(append(wrap, self), args...)
	return roleIn(t, name, os.Environ(), argv...)
}

// roleIn starts the test binary in a role, with an environment. argv may begin with another program
// that runs the test binary.
func roleIn(t *testing.T, name string, env []string, argv ...string) *process {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	// Otherwise the race detector makes each process wait a second at its end.
	cmd.Env = append(env, roleVariable+"="+name, "GORACE=atexit_sleep_ms=0 halt_on_error=1")
	return start(t, cmd)
}

func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, lines: make(chan string, 64), stderr: &kapitest.Output{}, ended: make(chan struct{})}
	cmd.Stderr = p.stderr
	dieWithTest(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		p.readLines(stdout)
	}()
	p.reap = sync.OnceFunc(func() {
		<-read
		_ = cmd.Wait()
		close(p.ended)
	})
	t.Cleanup(p.kill)
	return p
}

// dieWithTest makes a process die with the test binary, even if that is killed.
func dieWithTest(cmd *exec.Cmd) {
	// The signal is sent when the starting thread ends, and Go keeps its threads. It kills only this
	// process. Its group is then orphaned, and if a member of it is stopped, the kernel sends SIGHUP to
	// all of them.
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// readLines drops an incomplete last line, which the process was killed in.
func (p *process) readLines(from io.Reader) {
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		p.lines <- line[:len(line)-1]
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.pid(), sig); err != nil {
		p.t.Errorf("signal %d to process %d: %v", sig, p.pid(), err)
	}
}

// kill ends the process if it hasn't ended, and reaps it. Its remaining output is lost.
func (p *process) kill() {
	select {
	case <-p.ended:
		return
	default:
	}
	_ = p.cmd.Process.Kill()
	go func() {
		for range p.lines { // nobody else reads them any more
		}
	}()
	p.reap()
}

// wait waits for the process to end by itself and returns its exit code. Somebody must read its lines,
// or there must be few.
func (p *process) wait() int {
	p.t.Helper()
	timeout := time.AfterFunc(kapitest.Patience, func() {
		p.t.Errorf("%s did not end within %v", p.cmd, kapitest.Patience)
		_ = p.cmd.Process.Kill()
	})
	defer timeout.Stop()
	p.reap()
	return p.cmd.ProcessState.ExitCode()
}

// line returns the next line of the process's output.
func (p *process) line() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.reap()
			p.t.Fatalf("%s ended (%v) without writing another line: %s", p.cmd, p.cmd.ProcessState, p.stderr)
		}
		return line
	case <-time.After(kapitest.Patience):
		p.t.Fatalf("%s wrote nothing for %v: %s", p.cmd, kapitest.Patience, p.stderr)
	}
	return ""
}

// gather reads the remaining lines as they come. The function it returns waits for the last one and
// returns all.
func (p *process) gather() func() []string {
	var lines []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for line := range p.lines {
			lines = append(lines, line)
		}
	}()
	return func() []string {
		<-done
		return lines
	}
}

// descendants returns the pids of a process's children, their children, and so on.
func descendants(t *testing.T, pid int) (pids []int) {
	t.Helper()
	// There is one file per thread, as any of them may have forked.
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, _ := os.ReadFile(file) // the thread may have ended
		for field := range strings.FieldsSeq(string(content)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(append(pids, child), descendants(t, child)...)
		}
	}
	return pids
}
