//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
)

// deadline is how long a script waits for a condition. It is generous, as speed is measured elsewhere.
const deadline = 30 * time.Second

func TestMain(m *testing.M) {
	testscript.Main(tester{m}, map[string]func(){"kapi": kapiChecked, "kapi-faulty": kapiFaulty, "kapi-offering": kapiOffering})
}

// A tester runs the tests with the kapi binary that users have. With KAPI_SOAK set, kapi is the test binary
// instead, which has the race detector and checks for leaked goroutines, but takes a fifth of a second to
// start, hundreds of times.
type tester struct{ *testing.M }

func (m tester) Run() int {
	// The zone is for the tests themselves, not for the commands that scripts run. It is set before any test
	// runs, as it is read without a lock.
	time.Local = time.UTC
	if os.Getenv("KAPI_SOAK") != "" {
		return m.M.Run()
	}
	folder, err := os.MkdirTemp("", "kapi-scripts-")
	if err == nil {
		defer os.RemoveAll(folder)
		err = build(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.M.Run()
}

// build builds the binary and puts it in PATH.
func build(folder string) error {
	if _, err := kapitest.Build(folder); err != nil {
		return err
	}
	return os.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// kapiChecked runs the real main, and exits with 99 if that leaked a goroutine.
func kapiChecked() {
	code := kapiMain()
	if os.Getenv("KAPI_TEST_STUCK") != "" { // a goroutine is stuck in a write that only the end of the process ends
		os.Exit(code)
	}
	err := goleak.Find(goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "LEAK:", err)
		os.Exit(99)
	}
	os.Exit(code)
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("KAPI_STORE", "sqlite:"+filepath.Join(e.WorkDir, "kapi.db"))
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("TZ", "UTC")
			// The race detector sleeps a second at the end of every process.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "soak" {
				return os.Getenv("KAPI_SOAK") != "", nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"answering": cmdAnswering,
			"exits":     cmdExits,
			"await":     cmdAwait,
			"action":    cmdAction,
			"send":      cmdSend,
			"signal":    cmdSignal,
			"freeport":  cmdFreePort,
			"http":      cmdHTTP,
			"sql":       cmdSQL,
			"lock":      cmdLock,
			"opened":    cmdOpened,
			"weak":      cmdWeak,
			"setvar":    cmdStdout,
			"postgres":  cmdPostgres,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// exits CODE PROGRAM [ARG...]: the program must exit with the code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := exitOf(ts.Exec(args[1], args[2:]...)); neg || got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func exitOf(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// await REGEXP PROGRAM [ARG...]: repeats the program until its output matches or, with !, no longer matches.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	re := regexp.MustCompile("(?m)" + args[0])
	program := args[1:]
	output := func() (string, error) {
		err := ts.Exec(program[0], program[1:]...)
		return ts.ReadFile("stdout"), err
	}
	switch { // these two run without a process, as they are repeated so often
	case program[0] == "kapi" && program[1] == "ls":
		output = lister(ts, slices.Contains(program, "--json"))
	case program[0] == "cat":
		file := ts.MkAbs(program[1])
		output = func() (string, error) {
			text, err := os.ReadFile(file)
			return string(text), err
		}
	}
	await(ts, strings.Join(args, " "), func() bool {
		text, err := output()
		return err == nil && re.MatchString(text) != neg
	})
}

func await(ts *testscript.TestScript, what string, cond func() bool) {
	for end := time.Now().Add(deadline); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("not in time: %s", what)
		}
	}
}

// lister returns a function that runs kapi ls on the script's store or server, in this process.
func lister(ts *testscript.TestScript, asJSON bool) func() (string, error) {
	var out bytes.Buffer
	a := &app{
		stdout: &out, stderr: io.Discard, storeTimeout: deadline,
		store: ts.Getenv("KAPI_STORE"), server: ts.Getenv("KAPI_SERVER"), token: ts.Getenv("KAPI_TOKEN"),
	}
	path, isFile := strings.CutPrefix(a.store, "sqlite:")
	switch {
	case a.server != "":
	case isFile:
		a.store = "sqlite:" + ts.MkAbs(path)
	case a.store == "":
		ts.Fatalf("neither KAPI_STORE nor KAPI_SERVER is set: the store would be the tester's own")
	}
	return func() (string, error) {
		out.Reset()
		err := (&lsCmd{JSON: asJSON}).Run(a)
		return out.String(), err
	}
}

// action VAR TITLE STATUS: waits until the newest action with the title has the
// status, and sets VAR to its id, VAR_PID to its runner's pid.
func cmdAction(ts *testscript.TestScript, neg bool, args []string) {
	list, last, found := lister(ts, true), "", false
	defer func() {
		if !found {
			ts.Logf("the actions are %s", last)
		}
	}()
	await(ts, strings.Join(args, " "), func() bool {
		text, err := list()
		ts.Check(err)
		last = text
		var actions []kapi.Action
		ts.Check(json.Unmarshal([]byte(text), &actions))
		for _, a := range actions {
			if a.Title == args[1] && a.Status.String() == args[2] {
				ts.Setenv(args[0], a.ID)
				ts.Setenv(args[0]+"_PID", strconv.Itoa(a.Runner.PID))
				found = true
				return true
			}
		}
		return false
	})
}

// send SIGNAL PID
func cmdSend(ts *testscript.TestScript, neg bool, args []string) {
	pid, err := strconv.Atoi(strings.TrimSpace(args[1]))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, signalNumber(ts, args[0])))
}

// signal SIGNAL: sends it to all programs in the background.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(signalNumber(ts, args[0])))
	}
}

func signalNumber(ts *testscript.TestScript, name string) syscall.Signal {
	n := unix.SignalNum("SIG" + name)
	if n == 0 {
		ts.Fatalf("no signal %s", name)
	}
	return n
}

// freeport VAR
func cmdFreePort(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ts.Check(l.Close())
	ts.Setenv(args[0], port)
}

// http METHOD URL [TOKEN]: waits for the server and prints its answer.
func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	req, err := http.NewRequest(args[0], args[1], nil)
	ts.Check(err)
	if len(args) > 2 {
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(args[2]))
	}
	req.Close = true
	var resp *http.Response
	await(ts, args[1], func() bool {
		resp, err = http.DefaultClient.Do(req)
		return err == nil
	})
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n", resp.Status, body)
}

// sql FILE STATEMENT
func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	conn, err := sqlite.OpenConn(ts.MkAbs(args[0]), sqlite.OpenReadWrite)
	ts.Check(err)
	ts.Check(errors.Join(sqlitex.ExecuteScript(conn, args[1], nil), conn.Close()))
}

// lock FILE [UNTIL]: holds the store's write lock until the end of the script, or
// until the file UNTIL exists.
func cmdLock(ts *testscript.TestScript, neg bool, args []string) {
	conn, err := sqlite.OpenConn(ts.MkAbs(args[0]), sqlite.OpenReadWrite)
	ts.Check(err)
	conn.SetBusyTimeout(deadline)
	ts.Check(sqlitex.ExecuteTransient(conn, "BEGIN IMMEDIATE", nil))
	if len(args) < 2 {
		ts.Defer(func() { _ = conn.Close() })
		return
	}
	until := ts.MkAbs(args[1])
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(until); err == nil {
				break
			}
		}
		_ = conn.Close()
	}()
	ts.Defer(func() {
		_ = os.WriteFile(until, nil, 0o600)
		<-closed
	})
}

// opened FILE VAR: waits until a process has the file open, and sets VAR to its pid.
func cmdOpened(ts *testscript.TestScript, neg bool, args []string) {
	file := ts.MkAbs(args[0])
	self := strconv.Itoa(os.Getpid())
	await(ts, args[0]+" is open", func() bool {
		links, err := filepath.Glob("/proc/[0-9]*/fd/*")
		ts.Check(err)
		for _, link := range links {
			pid := strings.Split(link, "/")[2]
			if target, err := os.Readlink(link); err == nil && target == file && pid != self {
				ts.Setenv(args[1], pid)
				return true
			}
		}
		return false
	})
}

// weak CODE PROGRAM [ARG...]: like exits, for tests of file modes, which root
// overrides: as root, the program is run without any capability.
func cmdWeak(ts *testscript.TestScript, neg bool, args []string) {
	if os.Geteuid() == 0 {
		args = append([]string{args[0], "setpriv", "--bounding-set=-all"}, args[1:]...)
	}
	cmdExits(ts, neg, args)
}

// setvar VAR: sets VAR to the last output without its end.
func cmdStdout(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// postgres NAME: starts a PostgreSQL for the script; the variable becomes the DSN of an empty
// database, and NAME_ADDRESS where it listens.
func cmdPostgres(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: postgres NAME")
	}
	server, err := pgtest.New(pgtest.Options{TCP: true})
	ts.Check(err)
	ts.Defer(server.Stop)
	ts.Setenv(args[0], server.DSN("postgres"))
	ts.Setenv(args[0]+"_ADDRESS", server.Address())
}
