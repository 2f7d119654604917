package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
)

// remains looks at this machine.
func remains(t *testing.T, w Work) Remains {
	t.Helper()
	table, err := ReadTable()
	if err != nil {
		t.Fatal(err)
	}
	return table.Remains(w)
}

func names(all []Process) string {
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

// A runner is a shell in a group and session of its own that starts a command and then waits. It is
// what a kapi run is to the rest of the machine.
func runner(t *testing.T, command string, env ...string) (shell *exec.Cmd, w Work) {
	t.Helper()
	nonce := NewNonce()
	shell = exec.Command("sh", "-c", NonceVariable+"="+nonce+" "+command+" & echo $!; wait")
	shell.Env = append(os.Environ(), env...)
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL)
		_ = shell.Wait()
	})
	root := 0
	if _, err := fmt.Fscan(out, &root); err != nil {
		t.Fatal(err)
	}
	if w, err = Describe(root, MarkOf(nonce), nil); err != nil {
		t.Fatal(err)
	}
	return shell, w
}

// What a killed runner leaves is recognised, whatever became of its environment.
func TestRemains(t *testing.T) {
	const sleeps = "sleep 1000"
	for name, tt := range map[string]struct {
		command  string
		killRoot bool
		sure     string
		maybe    string
	}{
		"the command itself":           {command: sleeps, sure: "sleep"},
		"what it started":              {command: "sh -c '" + sleeps + "; true'", sure: "sh sleep"},
		"an orphan with the nonce":     {command: "sh -c '" + sleeps + "; true'", killRoot: true, sure: "sleep"},
		"a child without the nonce":    {command: "sh -c 'env -i " + sleeps + "; true'", sure: "sh sleep"},
		"an orphan without the nonce":  {command: "sh -c 'env -i " + sleeps + "; true'", killRoot: true, maybe: "sleep"},
		"an orphan of an orphan's":     {command: "sh -c 'env -i sh -c \"" + sleeps + "; true\"; true'", killRoot: true, maybe: "sh sleep"},
		"an orphan with other secrets": {command: "sh -c 'env -i KAPI_NONCE=other " + sleeps + "; true'", killRoot: true, maybe: "sleep"},
	} {
		t.Run(name, func(t *testing.T) {
			shell, w := runner(t, tt.command)
			want := len(strings.Fields(tt.sure + " " + tt.maybe))
			if tt.killRoot {
				want++
			}
			kapitest.Eventually(t, "the command is there", func() bool {
				left := remains(t, w)
				return len(left.Sure)+len(left.Maybe) == want && !slices.ContainsFunc(left.Sure, func(p Process) bool { return p.Name == "env" })
			})
			kill(t, shell.Process.Pid, syscall.SIGKILL)
			if tt.killRoot {
				kill(t, w.Root.PID, syscall.SIGKILL)
			}
			_ = shell.Wait()
			kapitest.Eventually(t, "only those are left", func() bool {
				left := remains(t, w)
				return names(left.Sure) == tt.sure && names(left.Maybe) == tt.maybe
			})
			for _, p := range append(remains(t, w).Sure, remains(t, w).Maybe...) {
				if err := Signal(p.Ref, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			kapitest.Eventually(t, "nothing is left", func() bool { return remains(t, w).None() })
		})
	}
}

// What a shell starts after a command of its own was killed is no part of that: it has a parent.
func TestANeighbourIsNoRemains(t *testing.T) {
	shell, w := runner(t, "sleep 1000 & sleep 1001")
	// The shell's other child is in the same group and session, and younger than what is recorded.
	w.Root = Ref{PID: w.Root.PID, StartTime: 1}
	w.Mark = "of another"
	w.Root.PID = 1 << 30
	if left := remains(t, w); len(left.Sure) > 0 {
		t.Errorf("remains: %+v", left)
	}
	w.Root.StartTime = identify(t, shell.Process.Pid).StartTime + 1
	if left := remains(t, w); !left.None() {
		t.Errorf("of a living shell's other children: %+v", left)
	}
}

// A fake /proc shows what no test can bring about everywhere.
func TestRemainsByTheBook(t *testing.T) {
	const nonce = "SECRET"
	type fake struct {
		pid, parent, group, session int
		start                       int
		environ, cgroup             string
	}
	own := fake{pid: 50, parent: 1, group: 40, session: 30, start: 100, environ: "A=b\x00", cgroup: "0::/user"}
	for name, tt := range map[string]struct {
		change func(*fake)
		want   kinship
	}{
		"an orphan in the group":              {func(*fake) {}, maybe},
		"in the session":                      {func(f *fake) { f.group = 99 }, maybe},
		"older than the command":              {func(f *fake) { f.start = 99 }, stranger},
		"elsewhere, and it can be looked at":  {func(f *fake) { f.group, f.session = 99, 99 }, stranger},
		"elsewhere, hidden":                   {func(f *fake) { f.group, f.session, f.environ = 99, 99, "" }, maybe},
		"hidden, in a control group below":    {func(f *fake) { f.group, f.session, f.environ, f.cgroup = 99, 99, "", "0::/user/x" }, maybe},
		"hidden, in another control group":    {func(f *fake) { f.group, f.session, f.environ, f.cgroup = 99, 99, "", "0::/users" }, stranger},
		"of a parent outside the namespace":   {func(f *fake) { f.parent = 0 }, stranger},
		"adopted by the reaper":               {func(f *fake) { f.parent = 20 }, maybe},
		"adopted by an ancestor":              {func(f *fake) { f.parent = 22 }, maybe},
		"of an ancestor, in another group":    {func(f *fake) { f.parent, f.group = 22, 99 }, stranger},
		"started by an ancestor":              {func(f *fake) { f.parent, f.environ = 22, "HOME=/h\x00LANG=C\x00X=y\x00" }, stranger},
		"started by somebody else":            {func(f *fake) { f.parent = 21 }, stranger},
		"started by the command":              {func(f *fake) { f.parent, f.group, f.session = 45, 99, 99 }, sure},
		"with the nonce":                      {func(f *fake) { f.parent, f.environ = 21, "KAPI_NONCE=OUTER SECRET\x00" }, sure},
		"with the nonce within another's":     {func(f *fake) { f.parent, f.environ = 21, "KAPI_NONCE=SECRET INNER\x00" }, sure},
		"with a part of the nonce":            {func(f *fake) { f.parent, f.environ = 21, "KAPI_NONCE=SECRE\x00" }, stranger},
		"with what the store shows of it":     {func(f *fake) { f.parent, f.environ = 21, "KAPI_NONCE="+string(MarkOf(nonce))+"\x00" }, stranger},
		"with the action's id, which is open": {func(f *fake) { f.parent, f.environ = 21, "KAPI_ACTION=a1\x00" }, stranger},
	} {
		t.Run(name, func(t *testing.T) {
			fs := procfs(t.TempDir())
			it := own
			tt.change(&it)
			for _, f := range []fake{
				{pid: 1, start: 1, environ: "A=b\x00"},
				{pid: 20, parent: 1, start: 5, environ: "A=b\x00"},
				{pid: 21, parent: 1, start: 6, group: 40, session: 30, environ: "A=b\x00"},
				{pid: 22, parent: 20, group: 22, session: 30, start: 7, environ: "HOME=/h\x00LANG=C\x00"},
				{pid: 45, parent: 20, group: 40, session: 30, start: 100, environ: "A=b\x00"},
				it,
			} {
				dir := fs.path(strconv.Itoa(f.pid))
				stat := fmt.Sprintf("%d (p) S %d %d %d 0 0 0 7 8 9 10 11 12 13 14 15 16 1 18 %d 20 21\n", f.pid, f.parent, f.group, f.session, f.start)
				stat = strings.Replace(stat, " 15 16 1 18 ", " 15 16 1 18 ", 1)
				for file, text := range map[string]string{
					"stat": stat, "cgroup": f.cgroup, filepath.Join("task", strconv.Itoa(f.pid), "environ"): f.environ,
				} {
					file = filepath.Join(dir, file)
					if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			table, err := fs.table()
			if err != nil {
				t.Fatal(err)
			}
			f := family{Table: table, found: map[int]kinship{}, Work: Work{
				Root: Ref{45, 100}, Mark: MarkOf(nonce), Groups: []int{40}, Sessions: []int{30},
				ControlGroup: "\n0::/user\n", Reaper: Ref{20, 5}, Ancestors: []Ref{{22, 7}, {20, 5}},
			}}
			if got := f.kinshipOf(table.processes[50]); got != tt.want {
				t.Errorf("kinship %d, want %d", got, tt.want)
			}
		})
	}
}

// A control group says nothing if everybody is in it.
func TestRootControlGroup(t *testing.T) {
	table := &Table{fs: procfs(t.TempDir())}
	for recorded, want := range map[string]bool{
		"\n0::/\n": false, "\n1:cpu:/\n0::/\n": false, "\n1:cpu:/\n0::/a\n": true, "": true, "elsewhere\n0::/\n": true,
	} {
		groups := "1:cpu:/b\n0::/a/b\n"
		if got := table.inControlGroup(&process{groups: &groups}, recorded); got != want {
			t.Errorf("in %q: %v, want %v", recorded, got, want)
		}
	}
}

// Only the very process is signalled.
func TestSignal(t *testing.T) {
	id := start(t, exec.Command("sleep", "1000"))
	if err := Signal(Ref{id.PID, id.StartTime - 1}, syscall.SIGKILL); err != nil {
		t.Errorf("a process that has ended: %v", err)
	}
	wantLife(t, id, Alive)
	kill(t, id.PID, syscall.SIGSTOP)
	kapitest.Eventually(t, "the process stops", id.Stopped)
	if err := Signal(Ref{id.PID, id.StartTime}, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	kapitest.Eventually(t, "it ends, though it was stopped", func() bool { return id.Life() == Gone })
}
