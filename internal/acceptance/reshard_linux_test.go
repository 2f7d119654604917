package acceptance

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
)

// reshardSlots is how many hash slots the new node gets; redis-cli doesn't round this number down. The
// test stops redis-cli when half of them have moved, so moving the other half must take longer than
// noticing that.
const reshardSlots = 2002

// TestReshard tests the problem that kapi was made for: an operator's resharding, seen by an admin.
func TestReshard(t *testing.T) {
	t.Parallel()
	binary := buildKapi(t)
	t.Run("to its end", func(t *testing.T) {
		t.Parallel()
		reshardToItsEnd(t, binary)
	})
	t.Run("with a node that stops", func(t *testing.T) {
		t.Parallel()
		reshardWithStoppedNode(t, binary)
	})
	t.Run("killed half way", func(t *testing.T) {
		t.Parallel()
		reshardKilled(t, binary)
	})
}

// A resharding is one under kapi run, halted half way.
type resharding struct {
	*installation
	cluster *cluster
	target  *node
	run     *process
	output  func() []string
	child   int // redis-cli
	action  kapi.Action
	first   kapi.Action // as every view first showed it
	// all is a watch of everything, one a watch of the action.
	all, one *process
	updates  []kapi.Action // what one printed; set when everything is over
}

// startResharding starts a resharding, checks it through all of kapi, and halts it half way.
func startResharding(t *testing.T, binary string) *resharding {
	t.Helper()
	r := beginResharding(t, binary)
	r.halt()
	r.settle()
	r.action = r.ongoing()
	if r.first = r.update(r.all); r.first.ID != r.action.ID || r.first.Status != kapi.StatusRunning {
		t.Errorf("kapi watch first printed %+v", r.first)
	}
	r.watchOne()
	return r
}

// settle waits until everything that redis-cli said before it was halted is in the list.
func (r *resharding) settle() {
	r.t.Helper()
	var seq uint64
	since := time.Now()
	kapitest.Eventually(r.t, "the action no longer changes", func() bool {
		if list := r.list(); len(list) == 1 && list[0].Seq != seq {
			seq, since = list[0].Seq, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond // reports are published every 100 ms
	})
}

func (r *resharding) watchOne() {
	r.t.Helper()
	r.one = r.start("watch", "--json", r.action.ID)
	if first := r.update(r.one); first.ID != r.action.ID || first.Status != kapi.StatusRunning {
		r.t.Errorf("kapi watch %s first printed %+v", r.action.ID, first)
	}
}

// beginResharding starts a resharding; flags are for kapi run.
func beginResharding(t *testing.T, binary string, flags ...string) *resharding {
	t.Helper()
	r := &resharding{installation: install(t, binary), cluster: startCluster(t, 3)}
	r.cluster.load()
	r.target = r.cluster.grow()
	r.serve()
	r.all = r.start("watch", "--json")
	flags = append([]string{
		"--key", key, "--title", "Resharding",
		"--progress", `^Moving slot (?P<state>\d+) from \S+ to`, "--total", strconv.Itoa(reshardSlots),
	}, flags...)
	r.run = r.start("run", append(flags, "--", "redis-cli", "--cluster", "reshard", r.cluster.nodes[0].address, "--cluster-from", "all",
		"--cluster-to", r.target.id, "--cluster-slots", strconv.Itoa(reshardSlots), "--cluster-yes", "--cluster-pipeline", "1")...)
	_ = r.run.stdin.Close()
	r.output = r.run.gather()
	t.Cleanup(r.endCommand)
	return r
}

// inStep waits until the progress matches the slots that have moved.
func (r *resharding) inStep() {
	r.t.Helper()
	moved := r.target.slots()
	kapitest.Eventually(r.t, "the progress matches the moved slots", func() bool {
		list := r.list()
		if len(list) != 1 || list[0].Progress == nil {
			return false
		}
		shown := int(*list[0].Progress*reshardSlots + 0.5)
		return shown >= moved-2 && shown <= moved && regexp.MustCompile(`^\d+$`).MatchString(list[0].State)
	})
}

// grows checks that the progress never decreased, and reached its end.
func (r *resharding) grows(updates []kapi.Action) {
	r.t.Helper()
	last, distinct := 0.0, 0
	for _, a := range updates {
		if a.Progress == nil || *a.Progress < last {
			r.t.Errorf("the progress went from %v to %v", last, a.Progress)
			continue
		}
		if *a.Progress > last {
			distinct++
		}
		last = *a.Progress
	}
	if last != 1 || distinct < 3 {
		r.t.Errorf("the progress grew %d times, to %v", distinct, last)
	}
}

// endCommand ends the command of kapi run, which would otherwise outlive it and keep its output open.
func (r *resharding) endCommand() {
	if r.t.Failed() {
		r.t.Logf("kapi run wrote to stderr: %s", r.run.stderr)
	}
	select {
	case <-r.run.ended:
		return
	default:
	}
	for _, pid := range descendants(r.t, r.run.pid()) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// halt stops redis-cli half way, so that no test depends on being faster.
func (r *resharding) halt() {
	r.t.Helper()
	kapitest.Eventually(r.t, "half of the slots have moved", func() bool { return r.target.slots() >= reshardSlots/2 })
	pids := slices.DeleteFunc(descendants(r.t, r.run.pid()), func(pid int) bool { return filepath.Base(programOf(pid)) != "redis-cli" })
	if len(pids) == 1 && syscall.Kill(pids[0], syscall.SIGSTOP) == nil {
		r.child = pids[0]
		kapitest.Eventually(r.t, "redis-cli is stopped or has ended", func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.child))
			return err != nil || strings.Contains(string(stat), ") T ") || strings.Contains(string(stat), ") Z ")
		})
	}
	if moved := r.target.slots(); r.child == 0 || moved >= reshardSlots {
		r.t.Fatalf("%d of %d slots had moved before redis-cli (one of the processes %v) could be stopped: reshardSlots is too small",
			moved, reshardSlots, pids)
	}
}

// ongoing returns the only action in the list, which must be running.
func (r *resharding) ongoing() kapi.Action {
	r.t.Helper()
	list := r.list()
	if len(list) != 1 {
		r.t.Fatalf("while Redis is resharded, the list is %+v", list)
	}
	a := list[0]
	if a.Title != "Resharding" || a.Status != kapi.StatusRunning || len(a.Keys) != 1 || a.Keys[0] != key ||
		a.Runner == nil || a.Runner.PID != r.run.pid() {
		r.t.Errorf("while Redis is resharded by process %d, the list is %+v", r.run.pid(), list)
	}
	return a
}

func (r *resharding) update(watch *process) kapi.Action {
	r.t.Helper()
	return r.installation.action(watch.line())
}

// refused starts the resharding again, and checks that it is refused with a message that matches a
// pattern.
func (r *resharding) refused(pattern string) {
	r.t.Helper()
	marker := filepath.Join(r.t.TempDir(), "ran")
	stdout, stderr, code := r.installation.run("run", "--key", key, "--title", "Resharding", "--", "touch", marker)
	if code != 75 || stdout != "" || !regexp.MustCompile(pattern).MatchString(stderr) {
		r.t.Errorf("a second run exited with %d and wrote %q%q, want %q", code, stdout, stderr, pattern)
	}
	if _, err := os.Stat(marker); err == nil {
		r.t.Error("the second run was refused, but ran")
	}
}

// mustRun runs a command with the key, which must be free.
func (r *resharding) mustRun(command ...string) {
	r.t.Helper()
	stdout, stderr, code := r.installation.run("run", append([]string{"--key", key, "--"}, command...)...)
	if code != 0 {
		r.t.Errorf("%q with the freed key exited with %d: %s%s", command, code, stdout, stderr)
	}
}

// over checks that the action is gone, after a last update with that status.
func (r *resharding) over(last kapi.Status) {
	r.t.Helper()
	if list := r.list(); len(list) > 0 {
		r.t.Errorf("at the end, the list is %+v", list)
	}
	path := "/v4/kapi/actions/" + r.action.ID
	r.refusal(http.MethodGet, path, http.StatusNotFound, 10015)
	r.refusal(http.MethodPost, path+"/dismiss", http.StatusNotFound, 10015)
	// The end of the next action comes after all updates of this one.
	r.mustRun("true")
	seq, status := r.first.Seq, r.first.Status
	for {
		a := r.update(r.all)
		if a.ID != r.action.ID {
			if !a.Status.Ongoing() {
				break
			}
			continue
		}
		if a.Seq <= seq || !status.Ongoing() {
			r.t.Errorf("after seq %d and status %d it was updated to %+v", seq, status, a)
		}
		seq, status = a.Seq, a.Status
	}
	if status != last {
		r.t.Errorf("its last update had status %d, want %d", status, last)
	}
	r.all.signal(syscall.SIGINT)
	if code := r.all.wait(); code != 130 {
		r.t.Errorf("kapi watch exited with %d after Ctrl-C: %s", code, r.all.stderr)
	}
}

// ends checks that kapi run and kapi watch ID exit with a code, and returns the last update that the
// latter printed.
func (r *resharding) ends(want int) (last kapi.Action) {
	r.t.Helper()
	if code := r.run.wait(); code != want {
		r.t.Errorf("kapi run exited with %d, want %d: %s", code, want, r.run.stderr)
	}
	watched := r.one.gather()
	r.updates = nil
	if code := r.one.wait(); code != want {
		r.t.Errorf("kapi watch %s exited with %d, want %d: %s", r.action.ID, code, want, r.one.stderr)
	}
	for _, line := range watched() {
		last = r.installation.action(line)
		r.updates = append(r.updates, last)
	}
	if last.ID != r.action.ID || last.ExitCode == nil || *last.ExitCode != want {
		r.t.Errorf("after the end with %d, kapi watch %s printed %+v", want, r.action.ID, last)
	}
	return last
}

// held returns a pattern for the beginning of a refusal.
func (r *resharding) held() string {
	return fmt.Sprintf(`^kapi: key "%s" is held by action %s \(Resharding\), `, key, r.action.ID)
}

func reshardToItsEnd(t *testing.T, binary string) {
	r := startResharding(t, binary)
	r.inStep()
	r.refused(r.held() + fmt.Sprintf(`running since .* on .*, pid %d, last heard at [^\n]*, [45]\d%% done: \d+\n$`, r.run.pid()))
	if err := syscall.Kill(r.child, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if last := r.ends(0); last.Status != kapi.StatusCompleted {
		t.Errorf("it ended as %+v", last)
	}
	r.grows(r.updates)
	r.over(kapi.StatusCompleted)
	moved := 0
	for _, line := range r.output() {
		if strings.HasPrefix(line, "Moving slot ") {
			moved++
		}
	}
	if got := r.target.slots(); moved != reshardSlots || got != reshardSlots {
		t.Errorf("want %d slots moved; redis-cli printed %d moves, and the new node has %d slots", reshardSlots, moved, got)
	}
	r.cluster.audit()
}

// If a node hangs the resharding hangs too: it is alive, but makes no progress.
func reshardWithStoppedNode(t *testing.T, binary string) {
	r := beginResharding(t, binary, "--stall", "300ms")
	kapitest.Eventually(t, "some slots have moved", func() bool { return r.target.slots() >= reshardSlots/20 })
	r.action = r.list()[0]
	if err := r.target.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	status := func(want kapi.Status, state string) {
		t.Helper()
		kapitest.Eventually(t, fmt.Sprintf("it is %s", want), func() bool {
			list := r.list()
			return len(list) == 1 && list[0].Status == want && regexp.MustCompile(state).MatchString(list[0].State)
		})
	}
	status(kapi.StatusImpacted, `^alive, but no progress for 300ms$`)
	if err := r.target.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	status(kapi.StatusRunning, `^\d+$`)
	r.watchOne()
	if last := r.ends(0); last.Status != kapi.StatusCompleted {
		t.Errorf("it ended as %+v", last)
	}
	r.grows(r.updates)
}

func reshardKilled(t *testing.T, binary string) {
	r := startResharding(t, binary)
	dismiss := "/v4/kapi/actions/" + r.action.ID + "/dismiss"
	r.refusal(http.MethodPost, dismiss, http.StatusConflict, 20000)
	if now := r.ongoing(); now.Seq != r.action.Seq {
		t.Errorf("after the refused dismissal: got %+v, want %+v", now, r.action)
	}
	if err := syscall.Kill(r.child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	const reason = "killed by signal 9 (SIGKILL)"
	if last := r.ends(128 + int(syscall.SIGKILL)); last.Status != kapi.StatusFailed || last.State != reason {
		t.Errorf("it ended as %+v", last)
	}
	if list := r.list(); len(list) != 1 || list[0].ID != r.action.ID || list[0].Status != kapi.StatusFailed || list[0].State != reason {
		t.Errorf("after redis-cli was killed, the list is %+v", list)
	}
	r.refused("(?s)" + r.held() + `which failed at .*: ` + regexp.QuoteMeta(reason) +
		`\n.*kapi dismiss --store \S+ ` + r.action.ID + `\n.*--release-on-failure`)
	if status, body := r.request(http.MethodPost, dismiss); status != http.StatusNoContent || len(body) > 0 {
		t.Errorf("got %d %q for the dismissal", status, body)
	}
	r.over(kapi.StatusAborted)
	if got := r.target.slots(); got < reshardSlots/2 || got >= reshardSlots {
		t.Errorf("of %d slots, the new node has %d after redis-cli was killed half way", reshardSlots, got)
	}
	// The nodes tell each other what redis-cli had not told all of them.
	kapitest.Eventually(t, "the Redis nodes agree", func() bool {
		out, _ := r.cluster.cli("check", r.target.address)
		return strings.Contains(out, "All nodes agree about slots configuration")
	})
	r.mustRun("redis-cli", "--cluster", "fix", r.target.address)
	r.cluster.audit()
}
