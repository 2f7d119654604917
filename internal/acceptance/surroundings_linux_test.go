package acceptance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// A usage is a way to use kapi run. Its script appends to the file $MARKS to show that it ran.
type usage struct {
	name   string
	flags  []string
	script string
	// late: its time limit ends it.
	late bool
	// far: it goes through a server.
	far bool
}

// forks tries to run many processes for a while, and ignores failures.
const forks = `(for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24; do sleep 0.3 & done) 2>/dev/null; `

const (
	works = `echo began >>$MARKS; ` + forks + `for p in 10 20 30 40 50; do echo $p%; done; echo ended >>$MARKS`
	lasts = `echo began >>$MARKS; echo $$ >>$MARKS; (exec sleep 1000) & (exec sleep 1001) & wait; wait; exec sleep 1002`
	// alone is lasts without further processes.
	alone = `echo began >>$MARKS; echo $$ >>$MARKS; exec sleep 1000`
)

var usages = []usage{
	{name: "plain", script: works},
	{name: "tty", flags: []string{"--tty"}, script: works},
	{name: "progress", flags: []string{"--progress", `(?P<percent>\d+)%`}, script: works},
	{name: "stall", flags: []string{"--stall", "10ms"}, script: works},
	{name: "timeout", flags: []string{"--timeout", "200ms", "--grace", "200ms"}, script: lasts, late: true},
	{name: "wait", flags: []string{"--wait=1m"}, script: works},
	{name: "server", script: works, far: true},
	{name: "server, timeout", flags: []string{"--timeout", "200ms", "--grace", "200ms"}, script: lasts, late: true, far: true},
}

// A surrounding is what kapi run finds around it.
type surrounding struct {
	name   string
	limits []string // in the form that withinMain takes
	// blind: no process except the command itself can be found.
	blind bool
	// alone: the command may be unable to start another process.
	alone bool
	// tight: kapi may be unable to start at all.
	tight bool
	// says is what appears on standard error with --tty if the command runs.
	says string
}

func surroundings() []surrounding {
	all := []surrounding{
		{name: "no pseudo-terminals", limits: []string{"no-ptmx"}, says: "there is no pseudo-terminal for the command's standard output, so it is a pipe"},
		{name: "an empty proc", limits: []string{"no-proc"}},
		{name: "an empty proc, a plain user", limits: []string{"no-proc", "user=64001"}, blind: true},
		{name: "a hidden proc, a plain user", limits: []string{"hidepid", "user=64002"}},
		{name: "pidfd_open: EPERM", limits: []string{refusing(unix.EPERM, unix.SYS_PIDFD_OPEN)}},
		{name: "pidfd_open: ENOSYS", limits: []string{refusing(unix.ENOSYS, unix.SYS_PIDFD_OPEN)}},
		{name: "pidfd_open: EINVAL", limits: []string{refusing(unix.EINVAL, unix.SYS_PIDFD_OPEN)}},
		{name: "pidfd_send_signal: EPERM", limits: []string{refusing(unix.EPERM, unix.SYS_PIDFD_SEND_SIGNAL)}},
		{name: "no pidfd, an empty proc", limits: []string{"no-proc", refusing(unix.EPERM, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_FSOPEN)}, blind: true},
	}
	few := []int{4, 10, 14, 16, 18, 20, 22, 24, 26, 30, 36, 44}
	if os.Getenv("KAPI_SOAK") != "" {
		few = nil
		for n := 1; n <= 64; n++ {
			few = append(few, n)
		}
	}
	for _, n := range few {
		all = append(all, surrounding{name: fmt.Sprint(n, " descriptors"), limits: []string{fmt.Sprint("nofile=", n)}, tight: true})
	}
	for _, n := range few {
		all = append(all, surrounding{
			name: fmt.Sprint(n, " processes"), tight: true, alone: true,
			limits: []string{fmt.Sprint("nproc=", n), fmt.Sprint("user=", 64100+n)},
		})
	}
	return all
}

// TestSurroundings runs commands where the kernel refuses things. In every case, kapi exits with 0 only
// if the command ran and exited with 0; once the command has begun, kapi lives to its end; a time limit
// is kept, or kapi says that it can't be; and if nothing was run, nothing holds the key.
func TestSurroundings(t *testing.T) {
	t.Parallel()
	dir := openFolder(t)
	binary, err := kapitest.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range surroundings() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			k := install(t, binary)
			dir := openFolder(t)
			k.store = "sqlite:" + filepath.Join(dir, "kapi.db")
			k.env = append(k.env, "TMPDIR="+dir, "XDG_RUNTIME_DIR=")
			k.serve()
			for _, file := range []string{dir, filepath.Join(dir, "kapi.db")} {
				for _, name := range siblings(t, file) { // whichever user kapi runs as then
					if err := os.Chmod(name, 0o777); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i, u := range usages {
				t.Run(u.name, func(t *testing.T) { k.runWithin(t, s, u, filepath.Join(dir, fmt.Sprint("marks", i))) })
			}
		})
	}
}

// openFolder makes a folder that any user may enter.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kapi-surroundings-")
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// siblings returns the files whose names begin with that of a file.
func siblings(t *testing.T, file string) []string {
	t.Helper()
	names, err := filepath.Glob(file + "*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func (k *installation) runWithin(t *testing.T, s surrounding, u usage, marks string) {
	if u.late && (s.blind || s.alone) {
		u.script = alone
	}
	args := append(slices.Clone(s.limits), "--", k.binary, "run", "--key", filepath.Base(marks))
	if u.far {
		args = append(args, "--server", k.url, "--token", k.token)
	} else {
		args = append(args, "--store", k.store)
	}
	env := append(slices.Clone(k.env), "MARKS="+marks)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(append([]string{self}, args...), u.flags...)
	p := roleIn(t, "within", env, append(argv, "--", "/bin/sh", "-c", u.script)...)
	p.gather()
	code := p.wait()
	said := p.stderr.String()
	content, err := os.ReadFile(marks)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	began, ended := strings.HasPrefix(string(content), "began\n"), strings.HasSuffix(string(content), "ended\n")
	defer func() {
		if t.Failed() {
			t.Logf("exit code %d, the command wrote %q, standard error:\n%s", code, content, said)
		}
	}()
	if (code == 0) != ended {
		t.Error("the exit code is 0 although the command did not finish, or the other way round")
	}
	crashed := strings.Contains(said, "goroutine ") || strings.Contains(said, "fatal error: ")
	switch {
	case !began:
		if !s.tight {
			t.Error("the command was not run")
		}
		if said == "" {
			t.Error("kapi did not say why the command was not run")
		}
	case crashed:
		t.Error("kapi crashed while the command ran")
	case u.late && code != 124:
		t.Error("the time limit was not kept")
	case u.late && s.blind && !strings.Contains(said, "the time limit will stop only the command itself"):
		t.Error("kapi did not say what the time limit won't reach")
	case slices.Contains(u.flags, "--tty") && !strings.Contains(said, s.says):
		t.Errorf("kapi did not say %q", s.says)
	}
	if u.late || began { // the action may be ongoing, or completed; its fields are not checked here
		return
	}
	if _, stderr, code := k.run("run", "--key", filepath.Base(marks), "--", "true"); code != 0 {
		t.Errorf("nothing was run, but the key is held: %s", stderr)
	}
}
