package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
)

// without makes that a SQLite store has no slots for runners, so that none holds a lock.
func without(t *testing.T, store string) string {
	t.Helper()
	if path, ok := strings.CutPrefix(store, "sqlite:"); ok {
		if err := os.WriteFile(path+"-runners", []byte("not kapi's\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

// onEachStoreWithoutLocks is onEachStore, where nothing can be proven of a runner in another PID namespace.
func onEachStoreWithoutLocks(t *testing.T, f func(t *testing.T, store string)) {
	onEachStore(t, func(t *testing.T, store string) { f(t, without(t, store)) })
}

// seesAll reports whether this is the PID namespace that all others are within, where it can be seen that a
// container is empty.
func seesAll(t *testing.T) bool {
	t.Helper()
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	return namespace == "pid:[4026531836]"
}

// TestKilledElsewhere: the lock that a runner holds beside the store proves its death across PID namespaces.
func TestKilledElsewhere(t *testing.T) {
	t.Parallel()
	runner, a, peer := startRunner(t, inFile(t), elsewhere()...)
	if a.Runner.PID > 3 {
		t.Fatalf("the runner's pid is %d: not in a PID namespace of its own", a.Runner.PID)
	}
	runner.kill()
	killed := time.Now()
	a = awaitAction(t, peer, a.ID, "failed", inStatus(kapi.StatusFailed))
	failedWithin(t, a, killed)
	want := fmt.Sprintf("its runner died: process %d on %s is gone; it last said: %s", a.Runner.PID, a.Runner.Host, lastState)
	if a.State != want {
		t.Errorf("the reason is %q, not %q", a.State, want)
	}
	mustBeFree(t, peer)
}

// TestStoppedElsewhere: one that holds its lock is alive, wherever it is, and never failed for its silence.
func TestStoppedElsewhere(t *testing.T) {
	t.Parallel()
	runner, a, peer := startRunner(t, inFile(t), elsewhere()...)
	runner.stopItself()
	a = awaitAction(t, peer, a.ID, "impacted", inStatus(kapi.StatusImpacted))
	if want := fmt.Sprintf("; process %d there is alive", a.Runner.PID); !strings.HasSuffix(a.State, want) {
		t.Errorf("the reason is %q, not %q", a.State, "..."+want)
	}
	mustStay(t, peer)
	mustHold(t, peer, a.ID)
	runner.thaw()
	awaitAction(t, peer, a.ID, "what it was before", asItSaid)
	_ = runner.stdin.Close()
	awaitEnd(t, peer, a.ID)
}

// A container is where a kapi run is, in a PID namespace of its own; with a boot id of its own if its name says
// so, as systemd-nspawn and LXC give one.
func (k *installation) container(ownBoot bool, args ...string) *process {
	k.t.Helper()
	boot := filepath.Join(k.t.TempDir(), "boot_id")
	if err := os.WriteFile(boot, []byte("11111111-2222-3333-4444-"+fmt.Sprintf("%012d", os.Getpid())+"\n"), 0o444); err != nil {
		k.t.Fatal(err)
	}
	script := `exec "$@"`
	if ownBoot {
		script = "mount --bind " + boot + " /proc/sys/kernel/random/boot_id && " + script
	}
	argv := []string{"unshare"}
	if os.Geteuid() != 0 {
		argv = append(argv, "--user", "--map-root-user")
	}
	argv = append(argv, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "sh", k.binary, "run", "--store", k.store)
	cmd := exec.Command(argv[0], append(argv[1:], args...)...)
	cmd.Env = k.env
	return start(k.t, cmd)
}

// TestContainers: a store is shared with a container over a bind mount, and only commands that take no time look.
// While the container's kapi runs nobody takes its key, whatever boot id it shows, and when it is killed its end is
// found out all the same.
func TestContainers(t *testing.T) {
	t.Parallel()
	binary := buildKapi(t)
	for _, ownBoot := range []bool{false, true} {
		t.Run(fmt.Sprintf("own boot id %v", ownBoot), func(t *testing.T) {
			t.Parallel()
			k := install(t, binary)
			run := k.container(ownBoot, "--key", "k", "--release-on-failure", "--", "sh", "-c", "echo it runs; exec sleep 600")
			run.line()
			for range 4 {
				if _, stderr, code := k.run("run", "--key", "k", "--", "true"); code != 75 {
					t.Fatalf("a second start exits with %d: %s", code, stderr)
				}
				if stdout, _, _ := k.run("ls"); !strings.Contains(stdout, "running") {
					t.Errorf("it is shown as %q", stdout)
				}
			}
			run.kill()
			if !seesAll(t) { // whether its command has ended, too, can't be seen
				kapitest.Eventually(t, "it is known to be dead", func() bool {
					_, stderr, code := k.run("run", "--key", "k", "--", "true")
					return code == 75 && strings.Contains(stderr, "can't be seen from here")
				})
				return
			}
			killed := time.Now()
			for {
				_, stderr, code := k.run("run", "--key", "k", "--", "true")
				if code == 0 {
					break
				}
				if code != 75 || time.Since(killed) > time.Minute { // the second limit is two
					t.Fatalf("after it was killed a start exits with %d: %s", code, stderr)
				}
			}
		})
	}
}

// TestContainerLeavesWork: kapi is killed in a container, and its command isn't. It goes on, and nobody takes it for
// ended.
func TestContainerLeavesWork(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to see into the container")
	}
	k := install(t, buildKapi(t))
	long := strconv.FormatInt(1_000_000*int64(os.Getpid()%2000)+10_000+sleeps.Add(1), 10)
	// The container outlives kapi.
	argv := []string{
		"unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", `"$@"; exec sleep 600`, "sh",
		k.binary, "run", "--store", k.store, "--key", "k", "--release-on-failure", "--leave-running", "--",
		"sh", "-c", "exec >/dev/null 2>&1 env -i sleep " + long,
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = k.env
	run := start(t, cmd)
	worker := 0
	kapitest.Eventually(t, "the worker is there", func() bool {
		worker = workerOf(t, run.pid(), "sleep", long)
		return worker != 0
	})
	if err := syscall.Kill(run.find(k.binary), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	said := ""
	kapitest.Eventually(t, "it is known to be dead", func() bool {
		_, stderr, code := k.run("run", "--key", "k", "--", "true")
		if said = stderr; code != 75 {
			t.Fatalf("beside a worker that lives a start exits with %d: %s", code, stderr)
		}
		return strings.Contains(stderr, "gone")
	})
	if seesAll(t) && !strings.Contains(said, "still running, probably: "+strconv.Itoa(worker)+" (sleep)") {
		t.Errorf("of the worker %d it says %q", worker, said)
	}
	if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if seesAll(t) {
		kapitest.Eventually(t, "the key is free", func() bool {
			_, _, code := k.run("run", "--key", "k", "--", "true")
			return code == 0
		})
	}
}

// TestWorkIsLocked: kapi is killed and its command lives. Who sees no process of either, from a container,
// knows by the lock that it goes on, and when it has ended no longer says so.
func TestWorkIsLocked(t *testing.T) {
	t.Parallel()
	k := install(t, buildKapi(t))
	long := strconv.FormatInt(1_000_000*int64(os.Getpid()%2000)+10_000+sleeps.Add(1), 10)
	run := k.start("run", "--key", "k", "--release-on-failure", "--leave-running", "--", "sh", "-c", "exec >/dev/null 2>&1 env -i sleep "+long)
	run.gather()
	worker := 0
	kapitest.Eventually(t, "the worker is there", func() bool {
		worker = workerOf(t, run.pid(), "sleep", long)
		return worker != 0
	})
	t.Cleanup(func() { _ = syscall.Kill(worker, syscall.SIGKILL) })
	run.kill()
	from := func() string {
		argv := append(elsewhere(), k.binary, "run", "--store", k.store, "--key", "k", "--", "true")
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Env = k.env
		p := start(t, cmd)
		p.gather()
		if code := p.wait(); code != 75 {
			t.Fatalf("a start exits with %d: %s", code, p.stderr)
		}
		return p.stderr.String()
	}
	kapitest.Eventually(t, "it is known to go on", func() bool { return strings.Contains(from(), "is gone; what it started is still running") })
	_ = syscall.Kill(worker, syscall.SIGKILL)
	kapitest.Eventually(t, "it isn't known any more", func() bool { return strings.Contains(from(), "can't be seen from here") })
	kapitest.Eventually(t, "the key is free to those who see", func() bool {
		_, _, code := k.run("run", "--key", "k", "--", "true")
		return code == 0
	})
}

// TestTwoUsers: users who share a store, and aren't shown each other's processes, see by the lock who lives.
func TestTwoUsers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be several users")
	}
	dir := openFolder(t)
	binary, err := kapitest.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	k := install(t, binary)
	k.store = "sqlite:" + filepath.Join(dir, "kapi.db")
	if _, stderr, code := k.run("run", "--", "true"); code != 0 {
		t.Fatal(code, stderr)
	}
	for _, name := range siblings(t, filepath.Join(dir, "kapi.db")) {
		if err := os.Chmod(name, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	env := append(k.env, "HOME="+dir)
	as := func(user int, args ...string) *process {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, append([]string{"hidepid", fmt.Sprint("user=", user), "--", binary}, args...)...)
		cmd.Env = append(env, roleVariable+"=within", "GORACE=atexit_sleep_ms=0 halt_on_error=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // otherwise this test may belong to the command
		return start(t, cmd)
	}
	again := func() (string, int) {
		p := as(anotherUser, "run", "--store", k.store, "--key", "k", "--", "true")
		p.gather()
		code := p.wait()
		return p.stderr.String(), code
	}
	run := as(someUser, "run", "--store", k.store, "--key", "k", "--release-on-failure", "--", "sh", "-c", "echo it runs; exec sleep 600")
	run.line()
	watch := as(anotherUser, "watch", "--store", k.store, "--json")
	watch.line()
	run.signal(syscall.SIGSTOP) // its lease is 15 s
	for want := fmt.Sprintf("process %d there is alive", run.pid()); ; {
		if line := watch.line(); strings.Contains(line, want) {
			break
		} else if strings.Contains(line, "no word") {
			t.Fatalf("another user says %s", line)
		}
	}
	watch.kill()
	if said, code := again(); code != 75 || strings.Contains(said, "gone") {
		t.Fatalf("beside one that lives, another user's start exits with %d: %s", code, said)
	}
	_ = syscall.Kill(run.pid(), syscall.SIGKILL) // and not what it started
	kapitest.Eventually(t, "another user knows that it is dead", func() bool {
		said, code := again()
		return code == 75 && strings.Contains(said, "is gone; what it started is still running")
	})
	// What that user can't see and end, root can: starts that take no time settle it.
	kapitest.Eventually(t, "root's starts find the command, end it and get the key", func() bool {
		_, _, code := k.run("run", "--key", "k", "--", "true")
		return code == 0
	})
}
