package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// TestKilledCommand kills kapi run on this machine. The others fail its action at once. Its key is held
// until somebody dismisses the action, or free if the start said so.
func TestKilledCommand(t *testing.T) {
	t.Parallel()
	k := install(t, buildKapi(t))
	k.store = inDatabase(t)
	peer := openPeer(t, k.store)
	for _, release := range []bool{false, true} {
		run := k.start("run", "--key", key, fmt.Sprintf("--release-on-failure=%v", release), "--", "sh", "-c", "echo it runs; read x")
		run.line()
		a := onlyAction(t, peer)
		run.signal(syscall.SIGKILL)
		killed := time.Now()
		run.kill()
		a = awaitAction(t, peer, a.ID, "failed", inStatus(kapi.StatusFailed))
		failedWithin(t, a, killed)
		if !strings.HasPrefix(a.State, fmt.Sprintf("its runner died: process %d on ", run.pid())) {
			t.Errorf("got the reason %q", a.State)
		}
		if release {
			mustBeFree(t, peer)
			continue
		}
		mustHold(t, peer, a.ID)
		if _, err := peer.Dismiss(t.Context(), a.ID, "the test"); err != nil {
			t.Error(err)
		}
	}
}

func onlyAction(t *testing.T, peer *peer.Peer) kapi.Action {
	t.Helper()
	list, err := peer.List(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("the list is %+v (%v), want one action", list, err)
	}
	return list[0]
}

// TestFrozenCommand freezes a kapi run that seems to be on another machine, for longer than its lease.
// It is given up and dismissed, and another start gets the key. When it continues, it stops its
// command.
func TestFrozenCommand(t *testing.T) {
	t.Parallel()
	k := install(t, buildKapi(t))
	k.store = inDatabase(t)
	peer := openPeer(t, k.store)
	argv := append(elsewhere(), k.binary, "run", "--store", k.store, "--key", key, "--", "sh", "-c", "echo it runs; exec sleep 600")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = k.env
	run := start(t, cmd)
	run.line()
	a := onlyAction(t, peer)
	frozen := run.find(k.binary)
	if err := syscall.Kill(frozen, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a = awaitAction(t, peer, a.ID, "given up", inStatus(kapi.StatusFailed)) // its lease is 15 s
	if !strings.Contains(a.State, "not proven dead") {
		t.Errorf("got the reason %q", a.State)
	}
	mustHold(t, peer, a.ID)
	if _, err := peer.Dismiss(t.Context(), a.ID, "the test"); err != nil {
		t.Fatal(err)
	}
	mustBeFree(t, peer)
	if err := syscall.Kill(frozen, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if code := run.wait(); code != 128+int(syscall.SIGTERM) {
		t.Errorf("kapi run exited with %d", code)
	}
	want := fmt.Sprintf("kapi: action %s was dismissed or taken over, so another action may hold its keys: stopping the command\n", a.ID)
	if !strings.Contains(run.stderr.String(), want) {
		t.Errorf("kapi run wrote %q, want %q", run.stderr, want)
	}
}

// find returns a descendant of the process that runs a program.
func (p *process) find(program string) int {
	p.t.Helper()
	program, err := filepath.EvalSymlinks(program)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, pid := range descendants(p.t, p.pid()) {
		if path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && path == program {
			return pid
		}
	}
	p.t.Fatalf("no descendant runs %s", program)
	return 0
}
