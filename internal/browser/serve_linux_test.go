package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// patience limits the wait for things that should happen at once, but may not on a busy machine.
const patience = time.Minute

// A site is a store, with kapi serve on it.
type site struct {
	t       testing.TB
	path    string // of the store
	address string
	token   string
	url     string
	flags   []string // of kapi serve

	cmd *exec.Cmd
	log kapitest.Output
}

func newSite(t testing.TB) *site {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, path: filepath.Join(t.TempDir(), "kapi.db"), address: listener.Addr().String()}
	_ = listener.Close()
	s.url = "http://" + s.address + "/"
	s.token = s.kapi("token", "create", "--name", "ada", "--perms", "admin")
	s.start()
	t.Cleanup(s.kill)
	return s
}

// command returns a command of kapi on the store. Flags can be set by environment variables; those of
// whoever runs the test must not apply.
func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "KAPI_") }),
		"KAPI_STORE=sqlite:"+s.path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// kapi runs a command to its end, and returns what it printed.
func (s *site) kapi(args ...string) string {
	s.t.Helper()
	cmd := s.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// start starts the server, logging everything.
func (s *site) start() {
	s.t.Helper()
	s.cmd = s.command(append([]string{"serve", "--listen", s.address, "--log-level", "debug"}, s.flags...)...)
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	kapitest.Eventually(s.t, "the server listens", func() bool {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// kill kills the server.
func (s *site) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// peer joins the store, as a program that embeds kapi does.
func (s *site) peer() *peer.Peer {
	s.t.Helper()
	store, err := sqlite.Open(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := peer.Open(s.t.Context(), store, peer.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = p.Close() })
	return p
}

// rest calls a route, which must succeed.
func (s *site) rest(method, path string, body, into any) {
	s.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(data))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, answer, err)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			s.t.Fatal(err)
		}
	}
}

// A remote is an action whose work the test claims to do.
type remote struct {
	Action kapi.Action
	Fence  uint64
}

func (s *site) remote(title, description string, keys ...string) (r remote) {
	s.t.Helper()
	s.rest("POST", "v4/kapi/actions", map[string]any{"title": title, "description": description, "keys": append([]string{}, keys...)}, &r)
	return r
}

func (s *site) report(r remote, report map[string]any) {
	s.t.Helper()
	report["fence"] = r.Fence
	s.rest("PATCH", "v4/kapi/actions/"+r.Action.ID, report, nil)
}

// lose has an admin give up an action whose runner has fallen silent.
func (s *site) lose(r remote) {
	s.t.Helper()
	s.report(r, map[string]any{"status": 2, "state": "no word from db2 since 2026-11-26T04:10:00Z; it last said: shard 12"})
	s.rest("POST", "v4/kapi/actions/"+r.Action.ID+"/cancel", map[string]any{"give_up": true}, nil)
}

// A job is a shell under kapi run, which runs what the test types.
type job struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{}
}

func (s *site) run(args ...string) *job {
	s.t.Helper()
	cmd := s.command(slices.Concat([]string{"run"}, args, []string{"--", "sh", "-s"})...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	j := &job{t: s.t, cmd: cmd, stdin: stdin, done: make(chan struct{})}
	go func() {
		defer close(j.done)
		_ = cmd.Wait()
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-j.done
	})
	return j
}

func (j *job) do(line string) {
	j.t.Helper()
	if _, err := io.WriteString(j.stdin, line+"\n"); err != nil {
		j.t.Fatal(err)
	}
}

// escape returns the terminal's progress escape.
func escape(state, percent int) string {
	return fmt.Sprintf(`printf '\033]9;4;%d;%d\007'`, state, percent)
}

// forever is an operation that runs until it is stopped.
func forever(ctx context.Context, _ kapi.Handle) error {
	<-ctx.Done()
	return context.Cause(ctx)
}
