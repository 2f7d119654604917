package acceptance

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

// TestStoppedRunner checks that a runner that is provably alive is never failed for silence.
func TestStoppedRunner(t *testing.T) { onEachStore(t, stoppedRunner) }

func stoppedRunner(t *testing.T, store string) {
	runner, a, peer := startRunner(t, store)
	runner.stopItself()
	a = awaitAction(t, peer, a.ID, "impacted", inStatus(kapi.StatusImpacted))
	wantPrefix := "no word from " + a.Runner.Host + " since "
	wantSuffix := fmt.Sprintf("; process %d is stopped", runner.pid())
	if !strings.HasPrefix(a.State, wantPrefix) || !strings.HasSuffix(a.State, wantSuffix) {
		t.Errorf("got the reason %q, want %q...%q", a.State, wantPrefix, wantSuffix)
	}
	mustStay(t, peer)
	mustHold(t, peer, a.ID)
	runner.signal(syscall.SIGCONT)
	awaitAction(t, peer, a.ID, "as it was before", asItSaid)
	_ = runner.stdin.Close()
	awaitEnd(t, peer, a.ID)
	if code := runner.wait(); code != 0 {
		t.Errorf("the runner ended with %d: %s", code, runner.stderr)
	}
}

// TestZombieRunner checks that a process that nobody has reaped yet counts as dead.
func TestZombieRunner(t *testing.T) { onEachStore(t, zombieRunner) }

func zombieRunner(t *testing.T, store string) {
	runner, a, peer := startRunner(t, store)
	runner.signal(syscall.SIGKILL)
	killed := time.Now()
	a = awaitAction(t, peer, a.ID, "failed", inStatus(kapi.StatusFailed))
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", runner.pid()))
	if err != nil || !strings.Contains(string(stat), ") Z ") {
		t.Fatalf("the runner is not a zombie: %q, %v", stat, err)
	}
	failedWithin(t, a, killed)
	want := fmt.Sprintf("its runner died: process %d on %s is gone; it last said: %s", runner.pid(), a.Runner.Host, lastState)
	if a.State != want {
		t.Errorf("got the reason %q, want %q", a.State, want)
	}
	mustBeFree(t, peer) // it was declared to release its keys on failure, and is proven dead
}

// failedWithin checks that the failure was found in time.
func failedWithin(t *testing.T, a kapi.Action, since time.Time) {
	t.Helper()
	if took := time.UnixMilli(a.UpdatedAt).Sub(since); took > settleWithin() {
		t.Errorf("it failed %v after its runner had died, want at most %v", took, settleWithin())
	}
}

// elsewhere is a command that runs another in a PID namespace of its own, as a container does. A shell
// is in between, because the first process of a namespace can't stop itself.
func elsewhere() []string {
	argv := []string{"unshare"}
	if os.Geteuid() != 0 {
		argv = append(argv, "--user", "--map-root-user")
	}
	return append(argv, "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", `"$@"; exit`, "sh")
}

// TestRunnerElsewhere checks that a pid of another PID namespace proves nothing: a runner that was
// killed there is only silent.
func TestRunnerElsewhere(t *testing.T) { onEachStoreWithoutLocks(t, runnerElsewhere) }

func runnerElsewhere(t *testing.T, store string) {
	runner, a, peer := startRunner(t, store, elsewhere()...)
	if a.Runner.PID > 3 {
		t.Fatalf("the runner's pid is %d: not in a PID namespace of its own", a.Runner.PID)
	}
	watch, err := peer.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	runner.kill()
	killed := time.Now()
	a = silentThenFailed(t, watch)
	if took := time.UnixMilli(a.UpdatedAt).Sub(killed); took < giveUp-lease {
		t.Errorf("it failed after %v", took)
	}
	mustHold(t, peer, a.ID)
	if _, err := peer.Dismiss(t.Context(), a.ID, "the test"); err != nil {
		t.Error(err)
	}
	mustBeFree(t, peer)
}

// silentThenFailed checks that the watch shows these two changes and no others.
func silentThenFailed(t *testing.T, watch *peer.Watch) kapi.Action {
	t.Helper()
	ctx := kapitest.Within(t)
	first, err := watch.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	said := "no word from " + first.Runner.Host + " since "
	if first.Status != kapi.StatusImpacted || !strings.HasPrefix(first.State, said) || strings.Contains(first.State, ";") {
		t.Errorf("first it became %+v", first)
	}
	second, err := watch.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if second.Status != kapi.StatusFailed || !strings.HasPrefix(second.State, said) ||
		!strings.HasSuffix(second.State, "; not proven dead; it last said: "+lastState) {
		t.Errorf("then it became %+v", second)
	}
	return second
}

// TestGivenUpRunner checks that a runner that was given up but continued can still report its end,
// once.
func TestGivenUpRunner(t *testing.T) { onEachStoreWithoutLocks(t, givenUpRunner) }

func givenUpRunner(t *testing.T, store string) {
	runner, a, peer := startRunner(t, store, elsewhere()...)
	watch, err := peer.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	runner.stopItself()
	silentThenFailed(t, watch)
	runner.thaw()
	_ = runner.stdin.Close()
	if code := runner.wait(); code == 0 || !strings.Contains(runner.stderr.String(), kapi.ErrGivenUp.Error()) {
		t.Errorf("the runner exited with %d and was not told that it had been given up: %s", code, runner.stderr)
	}
	a = awaitAction(t, peer, a.ID, "as the runner ended after all", func(a kapi.Action) bool {
		return a.State == "finished after it was given up: completed"
	})
	if a.Status != kapi.StatusFailed {
		t.Errorf("its status is %v", a.Status)
	}
	mustHold(t, peer, a.ID)
}

// thaw continues what a runner elsewhere has stopped.
func (p *process) thaw() {
	p.t.Helper()
	for _, pid := range descendants(p.t, p.pid()) {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			p.t.Error(err)
		}
	}
}

// TestDismissedRunner: a runner that was given up and dismissed while it was frozen has lost its key,
// possibly to another. When it continues, its context ends, and its reports change nothing.
func TestDismissedRunner(t *testing.T) { onEachStoreWithoutLocks(t, dismissedRunner) }

func dismissedRunner(t *testing.T, store string) {
	runner, a, peer := startRunner(t, store, elsewhere()...)
	watch, err := peer.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	runner.stopItself()
	silentThenFailed(t, watch)
	if _, err := peer.Dismiss(t.Context(), a.ID, "the test"); err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	next, err := peer.Start(t.Context(), kapi.Spec{Title: "Another", Keys: []string{key}}, func(ctx context.Context, _ kapi.Handle) error {
		select {
		case <-held:
		case <-ctx.Done():
		}
		return context.Cause(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	runner.thaw()
	if said := runner.line(); said != kapi.ErrLost.Error() {
		t.Errorf("after the thaw, its context ended with %q", said)
	}
	_ = runner.stdin.Close()
	if code := runner.wait(); code == 0 {
		t.Error("the runner could report its end")
	}
	mustHold(t, peer, next.ID)
	close(held)
	awaitEnd(t, peer, next.ID)
	for {
		b, err := watch.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b.ID == next.ID && !b.Status.Ongoing() {
			break // a report of the stale holder would have arrived by now
		}
		if b.ID == a.ID && b.Status != kapi.StatusAborted {
			t.Errorf("after the dismissal it became %+v", b)
		}
	}
}
