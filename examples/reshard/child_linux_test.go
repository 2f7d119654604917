package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestMain makes the test binary the runner of a resharding, if a test has started it as one.
func TestMain(m *testing.M) {
	if text := os.Getenv("RESHARD_CHILD"); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, "the resharding failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A child is what a process is told that runs, or goes on with, a resharding.
type child struct {
	Folder    string          // of the handle
	Arguments json.RawMessage // checked
	// Kill is the moment in which the process kills itself, or "". A moment is a command and which one of its kind it is,
	// or an unfinished MIGRATE.
	Kill  string
	Count int
	// Key and Target say, for a MIGRATE that is killed unfinished, which key it moves, and the process that is to receive
	// it: it is stopped meanwhile, and stays so.
	Key    string
	Target int
}

const (
	afterImporting = "setslot importing"
	afterMigrating = "setslot migrating"
	afterNode      = "setslot node" // the first of each slot is the target's
	duringMigrate  = "migrate"
)

func runChild(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	h, err := openHandle(c.Folder)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	connect := func(o *redis.Options) *redis.Client {
		client := redis.NewClient(o)
		client.AddHook(&witness{child: &c, handle: h, addr: o.Addr})
		return client
	}
	return define(config{Connect: connect}, log).Run(context.Background(), h, c.Arguments)
}

// A witness writes down each command with an effect, before it is sent and after its answer, and kills the process in
// the moment that was asked for.
type witness struct {
	*child
	handle *fileHandle
	addr   string
}

func (w *witness) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *witness) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (w *witness) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		args := words(cmd)
		kind, slot := effect(args)
		if kind == "" {
			return next(ctx, cmd)
		}
		w.note("begins", slot, kind)
		if kind == duringMigrate && w.Kill == kind && args[len(args)-1] == w.Key {
			if err := syscall.Kill(w.Target, syscall.SIGSTOP); err != nil {
				panic(err)
			}
			go func() { _ = next(ctx, cmd) }()
			w.dieWithin()
		}
		err := next(ctx, cmd)
		w.note("ended", slot, kind)
		if err == nil && kind == w.Kill && kind != duringMigrate {
			if w.Count--; w.Count <= 0 {
				die()
			}
		}
		return err
	}
}

func words(cmd redis.Cmder) []string {
	var all []string
	for _, arg := range cmd.Args() {
		all = append(all, fmt.Sprint(arg))
	}
	return all
}

// effect returns what kind of effect a command has, or "", and its slot.
func effect(args []string) (kind, slot string) {
	switch {
	case args[0] == "migrate":
		return duringMigrate, fmt.Sprint(slotOf(args[len(args)-1]))
	case len(args) > 3 && args[1] == "setslot":
		return args[1] + " " + args[3], args[2]
	}
	return "", ""
}

func (w *witness) note(what, slot, kind string) {
	line := fmt.Sprintf("%d %s %s %s %s", w.handle.fence, slot, what, kind, w.addr)
	if err := appendLine(filepath.Join(w.Folder, "witness"), line); err != nil {
		panic(err)
	}
}

// dieWithin kills the process while the source carries out MIGRATE. The target is stopped, so that it can't end; and
// that the source doesn't answer shows that it has begun.
func (w *witness) dieWithin() {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		conn, err := net.Dial("tcp", w.addr)
		if err != nil {
			panic(err)
		}
		_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = conn.Write([]byte("PING\r\n"))
		_, err = conn.Read(make([]byte, 16))
		conn.Close()
		if err != nil {
			die()
		}
	}
	panic("MIGRATE didn't keep the source busy")
}

// die is what SIGKILL does at any moment: nothing is closed, flushed or said.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// startChild starts a process that runs the resharding. Its output goes to the file "log" of the folder.
func startChild(t *testing.T, c child) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(c.Folder, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "RESHARD_CHILD="+string(text))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// killed reports whether a process was killed; that it failed is an error of the test.
func killed(t *testing.T, cmd *exec.Cmd, folder string) bool {
	t.Helper()
	err := cmd.Wait()
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err != nil && !status.Signaled() {
		t.Fatalf("%v:\n%s", err, strings.Join(lines(t, folder, "log"), "\n"))
	}
	return status.Signaled()
}
