package acceptance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// A survivor is a worker that outlives the kapi run that started it.
type survivor struct {
	name string
	// hides precedes the worker's command, and makes it hard to recognise.
	hides []string
	// user runs kapi; 0 is root. looks starts the second one.
	user, looks int
	// setUID: the worker belongs to root whoever starts it.
	setUID bool
	// nested: the worker is that of a nested kapi run.
	nested bool
	// apart: the nested one doesn't know of the outer one.
	apart bool
}

const (
	someUser    = 64011
	anotherUser = 64012
)

var survivors = []survivor{
	{name: "plain"},
	{name: "without its environment", hides: []string{"env", "-i"}},
	{name: "with another secret", hides: []string{"env", "KAPI_NONCE=another"}},
	{name: "in a session of its own", hides: []string{"setsid", "-w", "env", "-i"}},
	{name: "as another user", hides: []string{"setpriv", "--reuid=64013", "--clear-groups", "env", "-i"}},
	{name: "nested", hides: []string{"env", "-i"}, nested: true},
	{name: "nested, hidden from the one around", hides: []string{"env", "-i"}, nested: true, apart: true},
	{name: "a user's", user: someUser, looks: someUser, hides: []string{"env", "-i"}},
	{name: "set-uid", user: someUser, looks: someUser, setUID: true},
	{name: "set-uid, in a session of its own", user: someUser, looks: someUser, hides: []string{"setsid", "-w"}, setUID: true},
	{name: "root's, and a user looks", looks: someUser, hides: []string{"env", "-i"}},
	{name: "a user's, and another looks", user: someUser, looks: anotherUser},
}

// deaths are which of kapi run's processes are killed: there is a shell, and below it the worker.
var deaths = []struct {
	name string
	of   func(s *stage) []int
}{
	{"kapi", func(s *stage) []int { return s.runners }},
	{"kapi and the shell", func(s *stage) []int { return append(s.runners, s.shell) }},
	{"all but the worker", func(s *stage) []int { return s.others }},
}

// TestSurvivors kills kapi run while the process that does the work lives on. However that process
// hides, and whoever looks, nobody can start a second one beside it; when it ends, the key is free.
func TestSurvivors(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be several users")
	}
	dir := openFolder(t)
	binary, err := kapitest.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	sleep := setUIDSleep(t, dir)
	often := rounds(1, 2) > 1
	for _, sv := range survivors {
		for _, death := range deaths {
			for _, store := range []string{"SQLite", "PostgreSQL"} {
				if store == "PostgreSQL" && (sv.user+sv.looks != 0 || !often && death.name != "all but the worker") {
					continue // the test's database accepts only its own user
				}
				t.Run(fmt.Sprintf("%s, %s killed, %s", sv.name, death.name, store), func(t *testing.T) {
					t.Parallel()
					s := &stage{t: t, survivor: sv, binary: binary, dir: openFolder(t), sleep: sleep}
					s.store = "sqlite:" + filepath.Join(s.dir, "kapi.db")
					if store == "PostgreSQL" {
						s.store = inDatabase(t)
					}
					s.play(death.of)
				})
			}
		}
	}
}

// setUIDSleep returns a sleep that runs as root, whoever starts it.
func setUIDSleep(t *testing.T, dir string) string {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Flags&unix.ST_NOSUID != 0 {
		t.Fatalf("%s is mounted nosuid: set TMPDIR to a folder that is not", dir)
	}
	name, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "sleep")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	return path
}

// A stage is where one survivor outlives its kapi.
type stage struct {
	survivor
	t                         *testing.T
	binary, dir, store, sleep string
	runners                   []int // kapi's processes
	shell, worker             int
	others                    []int // all except the worker
}

// sleeps makes each worker's arguments unique on this machine.
var sleeps atomic.Int64

func (s *stage) play(dies func(*stage) []int) {
	t := s.t
	long := strconv.FormatInt(1_000_000*int64(os.Getpid()%2000)+10_000+sleeps.Add(1), 10)
	sleep := "sleep"
	if s.setUID {
		sleep = s.sleep
	}
	work := strings.Join(append(append([]string{}, s.hides...), sleep, long), " ")
	if s.nested {
		work = fmt.Sprintf("%s run --store \"%s\" --key inner --release-on-failure --leave-running -- sh -c '%s; true'", s.binary, s.store, work)
	}
	if s.apart {
		work = "env -i PATH=$PATH HOME=$HOME " + work
	}
	first := s.kapi(s.user, "--key", "k", "--leave-running", "--", "sh", "-c", "exec >/dev/null 2>&1; "+work+"; true")
	first.gather()
	kapitest.Eventually(t, "the worker is there", func() bool {
		s.worker = workerOf(t, first.pid(), sleep, long)
		return s.worker != 0
	})
	t.Cleanup(func() { _ = syscall.Kill(s.worker, syscall.SIGKILL) })
	s.share()
	s.awaitRecorded(first, s.worker)
	for _, pid := range append([]int{first.pid()}, descendants(t, first.pid())...) {
		switch {
		case pid == s.worker:
			continue
		case programOf(pid) == s.binary:
			s.runners = append(s.runners, pid)
		case s.shell == 0 && programOf(pid) == "sh":
			s.shell = pid
		}
		s.others = append(s.others, pid)
	}
	for _, pid := range dies(s) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	first.wait()
	s.guards()
}

// guards checks that the key is held while the worker lives.
func (s *stage) guards() {
	t := s.t
	for range 2 { // the first may be refused before anybody looked
		code, said := s.again("k")
		if code != 75 {
			t.Fatalf("while the worker lives, a second start exited with %d: %s", code, said)
		}
		time.Sleep(500 * time.Millisecond)
	}
	if code, said := s.again("k"); code != 75 || !strings.Contains(said, "still running") && !strings.Contains(said, "still be running") {
		t.Errorf("a second start exited with %d and wrote %q", code, said)
	}
	if s.nested {
		if code, said := s.again("inner"); code != 75 {
			t.Errorf("a second start of the nested one exited with %d: %s", code, said)
		}
	}
	if err := syscall.Kill(s.worker, 0); err != nil {
		t.Fatalf("the worker has ended: %v", err)
	}
	_ = syscall.Kill(s.worker, syscall.SIGKILL)
	for _, pid := range s.others {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	kapitest.Eventually(t, "the key is free", func() bool {
		code, _ := s.again("k")
		return code == 0
	})
}

// awaitRecorded waits until the store has the worker's process group and session, if they differ from
// kapi's. Then kapi has seen the worker.
func (s *stage) awaitRecorded(kapi *process, worker int) {
	s.t.Helper()
	var want []*regexp.Regexp
	for _, id := range []func(pid int) (int, error){unix.Getpgid, unix.Getsid} {
		of, err := id(worker)
		if err != nil {
			s.t.Fatal(err)
		}
		if known, err := id(kapi.pid()); err != nil || known != of {
			want = append(want, regexp.MustCompile(fmt.Sprintf(`\b%d\b`, of)))
		}
	}
	store, err := openStore(s.store)
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	defer func() {
		if s.t.Failed() {
			s.t.Logf("worker %d; kapi wrote: %s; the store has: %s", worker, kapi.stderr, workIn(s.t, store))
		}
	}()
	kapitest.Eventually(s.t, "kapi has recorded the worker", func() bool {
		work := workIn(s.t, store)
		return work != "" && !slices.ContainsFunc(want, func(id *regexp.Regexp) bool { return !id.MatchString(work) })
	})
}

// workIn returns what the runners of all ongoing actions have recorded of their work.
func workIn(t *testing.T, store store.Store) (all string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), kapitest.Patience)
	defer cancel()
	snapshot, err := store.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range snapshot.Records {
		ids = append(ids, r.Runner.ID)
	}
	runners, err := store.Runners(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runners {
		all += r.Work + "\n"
	}
	return strings.TrimSpace(all)
}

// kapi starts kapi run as a user.
func (s *stage) kapi(user int, args ...string) *process {
	args = append([]string{s.binary, "run", "--store", s.store, "--release-on-failure"}, args...)
	if user != 0 {
		id := strconv.Itoa(user)
		args = append([]string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups"}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(install(s.t, s.binary).env, "HOME="+s.dir)
	return start(s.t, cmd)
}

// again tries to start a second one.
func (s *stage) again(key string) (code int, said string) {
	p := s.kapi(s.looks, "--key", key, "--", "true")
	p.gather()
	code = p.wait()
	return code, p.stderr.String()
}

// share makes the store accessible to every user.
func (s *stage) share() {
	for _, file := range siblings(s.t, filepath.Join(s.dir, "kapi.db")) {
		if err := os.Chmod(file, 0o666); err != nil {
			s.t.Fatal(err)
		}
	}
}

// workerOf returns the pid of the worker below a process, 0 if it doesn't exist yet.
func workerOf(t *testing.T, pid int, sleep, long string) int {
	t.Helper()
	for _, pid := range descendants(t, pid) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if string(line) == sleep+"\x00"+long+"\x00" {
			return pid
		}
	}
	return 0
}

// programOf returns a process's argv[0].
func programOf(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	program, _, _ := strings.Cut(string(line), "\x00")
	return program
}

// TestBootIDOfItsOwn shares the store with a runner in a container with a boot id and processes of its
// own. Nobody outside takes it for a runner of an earlier boot.
func TestBootIDOfItsOwn(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a container")
	}
	k := install(t, buildKapi(t))
	boot := filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(boot, []byte("5b0c0e0c-0000-4000-8000-000000000000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("mount --bind %s /proc/sys/kernel/random/boot_id && exec %s run --store %s --key k --release-on-failure -- sh -c 'echo began; read end'",
		boot, k.binary, k.store)
	inside := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script)
	inside.Env = k.env
	first := start(t, inside)
	if line := first.line(); line != "began" {
		t.Fatalf("the container printed %q: %s", line, first.stderr)
	}
	k.serve() // a peer that looks all the time
	for range 6 {
		if _, said, code := k.run("run", "--key", "k", "--", "true"); code != 75 {
			t.Fatalf("beside a runner in a container, a second start exited with %d: %s", code, said)
		}
		time.Sleep(500 * time.Millisecond)
	}
	_ = first.stdin.Close()
	first.gather()
	first.wait()
	if _, said, code := k.run("run", "--key", "k", "--", "true"); code != 0 {
		t.Errorf("after its end, a start exited with %d: %s", code, said)
	}
}
