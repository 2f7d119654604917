package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
)

// TestMain makes the test binary the service, if a test has started it as that.
func TestMain(m *testing.M) {
	if os.Getenv("EMBED_SERVICE") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A house is where the service runs: its user's home, and kapi.
type house struct {
	t    *testing.T
	home string
	kapi string
	env  []string // of kapi
	url  string
}

// A process is the service, running.
type process struct {
	*exec.Cmd
	t      *testing.T
	output *kapitest.Output
}

// TestService: the service works as README.md says, each time in a house of its own.
func TestService(t *testing.T) {
	binary, err := kapitest.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]func(*testing.T, *house){"users": testUsers, "kill": testKill, "stop": testStop, "continue": testContinue} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &house{t: t, home: t.TempDir(), kapi: binary})
		})
	}
}

// start starts the service, and waits until it says where it is.
func (h *house) start() *process {
	h.t.Helper()
	p := &process{exec.Command(os.Args[0], "-listen", "127.0.0.1:0"), h.t, &kapitest.Output{}}
	p.Env = append(os.Environ(), "EMBED_SERVICE=1", "XDG_CONFIG_HOME="+h.home)
	p.Stdout, p.Stderr = p.output, p.output
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = p.Process.Kill() })
	var token string
	kapitest.Eventually(h.t, "the service says where it is", func() bool {
		for line := range strings.Lines(p.output.String()) {
			if _, err := fmt.Sscanf(line, "export KAPI_SERVER=%s KAPI_TOKEN=%s\n", &h.url, &token); err == nil {
				return true
			}
		}
		return false
	}, p.output.String)
	h.env = append(os.Environ(), "KAPI_SERVER="+h.url, "KAPI_TOKEN="+token)
	return p
}

// end sends a signal, and waits until the process has ended.
func (p *process) end(signal syscall.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	err := p.Wait()
	var exit *exec.ExitError
	if killed := errors.As(err, &exit) && !exit.Exited(); killed != (signal == syscall.SIGKILL) || !killed && err != nil {
		p.t.Fatalf("after %v: %v\n%s", signal, err, p.output)
	}
}

// run runs kapi, and returns what it prints on stdout, and the exit code.
func (h *house) run(args ...string) (stdout string, code int) {
	h.t.Helper()
	cmd := exec.Command(h.kapi, args...)
	cmd.Env = h.env
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	if exit != nil {
		h.t.Logf("kapi %q: exit code %d: %s", args, exit.ExitCode(), exit.Stderr)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

// must is run for commands that succeed.
func (h *house) must(args ...string) string {
	h.t.Helper()
	out, code := h.run(args...)
	if code != 0 {
		h.t.Fatalf("kapi %q ended with %d, %s", args, code, out)
	}
	return out
}

// action returns an ongoing action.
func (h *house) action(id string) (a kapi.Action) {
	h.t.Helper()
	var all []kapi.Action
	if err := json.Unmarshal([]byte(h.must("ls", "--json")), &all); err != nil {
		h.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(a kapi.Action) bool { return a.ID == id })
	if i < 0 {
		h.t.Fatalf("%s is not ongoing: %+v", id, all)
	}
	return all[i]
}

func (h *house) outbox() string { return filepath.Join(h.home, "kapi-embed", "outbox") }

// mails returns the names of the mails that an action has sent, and when each was written.
func (h *house) mails(origin string) map[string]time.Time {
	h.t.Helper()
	paths, err := filepath.Glob(filepath.Join(h.outbox(), origin+".*"))
	if err != nil {
		h.t.Fatal(err)
	}
	sent := map[string]time.Time{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			h.t.Fatal(err)
		}
		sent[filepath.Base(path)] = info.ModTime()
	}
	return sent
}

// some waits until some mails are sent, and returns them.
func (h *house) some(origin string) (sent map[string]time.Time) {
	h.t.Helper()
	kapitest.Eventually(h.t, "mails are sent", func() bool {
		sent = h.mails(origin)
		return len(sent) >= 20
	})
	return sent
}

// ended checks that each customer got a mail, and that at most one of the first was sent again.
func (h *house) ended(origin string, first map[string]time.Time, again int) {
	h.t.Helper()
	all := h.mails(origin)
	if len(all) != len(customers()) {
		h.t.Errorf("%d mails were sent", len(all))
	}
	twice := 0
	for name, at := range first {
		if !all[name].Equal(at) {
			twice++
		}
	}
	if twice > again {
		h.t.Errorf("%d of the first %d mails were sent again", twice, len(first))
	}
}

// The process is killed in the middle of the newsletter. The next one goes on with it, under the same id.
func testKill(t *testing.T, h *house) {
	service := h.start()
	id := h.must("start", "newsletter", "--arg", "subject=Hello", "--arg", "rate=50")
	h.some(id)
	service.end(syscall.SIGKILL)
	first := h.mails(id)
	if len(first) == len(customers()) {
		t.Fatal("it was killed too late")
	}

	service = h.start()
	h.must("watch", id) // exits with 0 if it completes
	h.ended(id, first, 1)
	service.end(syscall.SIGTERM)
}

// A planned stop hands the newsletter over. It counts no attempt, and no mail is sent twice.
func testStop(t *testing.T, h *house) {
	service := h.start()
	id := h.must("start", "newsletter", "--arg", "subject=Hello", "--arg", "rate=50")
	h.some(id)
	service.end(syscall.SIGTERM)
	first := h.mails(id)

	service = h.start()
	kapitest.Eventually(t, "it goes on", func() bool { return len(h.mails(id)) > len(first) })
	if a := h.action(id); a.Status != kapi.StatusRunning || a.Attempt > 1 {
		t.Errorf("it goes on as %+v", a)
	}
	h.must("watch", id)
	h.ended(id, first, 0)
	service.end(syscall.SIGTERM)
}
