package linear

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience limits the wait for things that should happen at once, but may not on a busy machine.
const patience = 60 * time.Second

// A process is a peer in a process of its own.
type process struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stderr  bytes.Buffer // read it only after the process has ended
	account *account
	reap    func()        // waits for the end; may be called again
	ended   chan struct{} // closed then
}

// launch starts a peer, whose calls r records.
func launch(t *testing.T, r *recorder, slot int, s settings) *process {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(peerBinary)
	// Otherwise the race detector makes each process wait a second at its end.
	cmd.Env = append(os.Environ(), peerVariable+"="+string(text), "GORACE=atexit_sleep_ms=0 halt_on_error=1")
	// It dies with the test binary, even if that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if s.Host {
		ownProcesses(cmd.SysProcAttr)
	}
	p := &process{cmd: cmd, account: r.process(slot), ended: make(chan struct{})}
	cmd.Stderr = &p.stderr
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewReader(stdout)
		for {
			text, err := lines.ReadString('\n')
			if err != nil {
				return // the process was killed while writing its last line, so the call had not begun, or not returned
			}
			r.add(p.account, text)
		}
	}()
	p.reap = sync.OnceFunc(func() {
		<-read
		_ = cmd.Wait()
		close(p.ended)
	})
	return p
}

func (p *process) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Errorf("signal %d to a peer: %v", sig, err)
	}
}

// kill ends the process, frozen or not.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	p.reap()
}

// leave has the process end by itself.
func (p *process) leave(t *testing.T) {
	t.Helper()
	timeout := time.AfterFunc(patience, func() {
		t.Errorf("a peer did not end within %v", patience)
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // to make it print where it hangs
	})
	defer timeout.Stop()
	_ = p.stdin.Close()
	p.reap()
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("a peer ended with %d: %s", code, &p.stderr)
	}
}
