package sqlite

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childEnv is the variable with the role that a child process plays instead of running the tests.
const childEnv = "KAPI_SQLITE_TEST_CHILD"

// asEnv is the variable with the user that a child becomes, its group, and another group.
const asEnv = "KAPI_SQLITE_TEST_AS"

// noExitSleep stops the race detector from waiting for a second at a process's end.
const noExitSleep = "GORACE=atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := runChild(name, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("KAPI_SOAK") == "" {
		_ = flag.Set("rapid.checks", "40") // 100 would take more than a minute with the race detector
	}
	goleak.VerifyTestMain(m)
}

// runChild plays a role. A role prints a line after each step, and waits for a line on stdin before the
// next.
func runChild(name string, args []string) error {
	roles := map[string]func(path string, in *bufio.Scanner) error{
		"lock":      roleLock,
		"lock all":  roleLockAll,
		"committer": roleCommitter,
		"crash":     roleCrash,
		"holder":    roleHolder,
		"keep":      roleKeep,
		"mover":     roleMover,
		"run":       roleRun,
		"save":      roleSave,
	}
	role := roles[name]
	if role == nil || len(args) != 1 {
		return fmt.Errorf("no such role: %q of %q", name, args)
	}
	if err := becomeUser(os.Getenv(asEnv)); err != nil {
		return err
	}
	return role(args[0], bufio.NewScanner(os.Stdin))
}

// A child is a process that plays a role.
type child struct {
	t    testing.TB
	name string
	cmd  *osexec.Cmd
	in   io.WriteCloser
	out  chan string // lines of stdout, closed at its end
	said strings.Builder
}

// startChild starts a process that plays a role on the store at path. It is killed when t ends.
func startChild(t testing.TB, role, path string) *child {
	t.Helper()
	return startChildWith(t, role, path)
}

// startChildWith is startChild with more environment variables.
func startChildWith(t testing.TB, role, path string, env ...string) *child {
	t.Helper()
	c := &child{t: t, name: role, cmd: osexec.Command(executable(t), path), out: make(chan string, 100)}
	c.cmd.Env = append(os.Environ(), childEnv+"="+role, noExitSleep)
	c.cmd.Env = append(c.cmd.Env, env...)
	c.cmd.Stderr = &c.said
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.in = in
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.out)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.out <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			_ = c.cmd.Process.Kill()
			for range c.out {
			}
			_ = c.cmd.Wait()
		}
	})
	return c
}

func executable(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// hear waits for the child's next line and returns it.
func (c *child) hear() string {
	c.t.Helper()
	select {
	case line, ok := <-c.out:
		if !ok {
			err := c.cmd.Wait()
			c.t.Fatalf("the child %q ended (%v); it says: %s", c.name, err, c.said.String())
		}
		return line
	case <-time.After(deadline):
		c.t.Fatalf("waited %v for the child %q", deadline, c.name)
	}
	return ""
}

// expect waits for the child's next line, which must be this one.
func (c *child) expect(line string) {
	c.t.Helper()
	if got := c.hear(); got != line {
		c.t.Fatalf("the child %q says %q, want %q", c.name, got, line)
	}
}

// send sends the child a line.
func (c *child) send(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		c.t.Fatalf("the child %q doesn't listen: %v; it says: %s", c.name, err, c.said.String())
	}
}

// end lets the child end, and checks that it ends without an error.
func (c *child) end() {
	c.t.Helper()
	_ = c.in.Close()
	for line := range c.out {
		c.t.Errorf("the child %q says %q at its end", c.name, line)
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("the child %q: %v; it says: %s", c.name, err, c.said.String())
	}
}

// waitFor waits for a line from the test.
func waitFor(in *bufio.Scanner) (string, error) {
	if !in.Scan() {
		return "", errors.Join(errors.New("the test said nothing more"), in.Err())
	}
	return in.Text(), nil
}
