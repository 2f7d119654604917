package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// TestMain makes the test binary a process that serves the operation, if a test has started it as one.
func TestMain(m *testing.M) {
	if text := os.Getenv("RESHARD_CHILD"); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A child is what a process is told that serves the operation as main does, and writes down what it does to the cluster.
type child struct {
	Store  string
	Folder string // of the witness and the log
	Lease  time.Duration
	GiveUp time.Duration
	// What happens to the process in its Count-th command of a kind, unless it is "":
	Kill   string // it is killed after the answer, or during a MIGRATE
	Freeze string // it is stopped when it has the permission to send the command
	Stall  string // the target of a MIGRATE is stopped before it is sent
	Count  int
	// Key is the key whose MIGRATE is meant, and Target the process that receives it.
	Key    string
	Target int
}

const (
	importing = "setslot importing"
	migrating = "setslot migrating"
	owning    = "setslot node" // the first of each slot is the target's
	migrate   = "migrate"
)

func runChild(text string) error {
	w := &witness{}
	if err := json.Unmarshal([]byte(text), &w.child); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stdout, nil)).With("process", os.Getpid())
	slog.SetDefault(log)
	d := define(config{}, log)
	d.Run = func(ctx context.Context, h kapi.OperationHandle, a json.RawMessage) error {
		connect := func(o *redis.Options) *redis.Client {
			client := redis.NewClient(o)
			client.AddHook(&watched{w, o.Addr, h.Fence()})
			return client
		}
		return define(config{Connect: connect}, log).Run(ctx, h, a)
	}
	// The lease is short, so that the tests are; the grace is longer than it.
	return serve(ctx, d, w.Store, peer.Options{Logger: log, Lease: w.Lease, GiveUp: w.GiveUp})
}

// A witness writes down each command with an effect, before it is sent and after its answer, and does to the process
// what was asked for.
type witness struct{ child }

// watched is the witness of one node's client.
type watched struct {
	*witness
	addr  string
	fence uint64
}

func (w *watched) DialHook(next redis.DialHook) redis.DialHook { return next }

func (w *watched) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (w *watched) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		args := words(cmd)
		kind, slot := effect(args)
		if kind == "" {
			return next(ctx, cmd)
		}
		meant := kind != migrate || args[len(args)-1] == w.Key
		if meant && kind == w.Freeze && w.counted() {
			w.note("frozen before", slot, kind)
			signalTo(os.Getpid(), syscall.SIGSTOP)
			// As if it had been stopped in the system call that sends the command: nothing looks at the time after that.
			ctx = context.WithoutCancel(ctx)
		}
		w.note("begins", slot, kind)
		if kind == migrate && meant && (kind == w.Kill || kind == w.Stall) {
			signalTo(w.Target, syscall.SIGSTOP)
			if kind == w.Kill {
				go func() { _ = next(ctx, cmd) }()
				w.dieWithin()
			}
			w.Stall = ""
		}
		err := next(ctx, cmd)
		w.note("ended", slot, kind)
		if err == nil && kind == w.Kill && kind != migrate && w.counted() {
			die()
		}
		return err
	}
}

// counted reports whether it has been called for the Count-th time.
func (w *watched) counted() bool {
	w.Count--
	return w.Count == 0
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
		return migrate, fmt.Sprint(slotOf(args[len(args)-1]))
	case len(args) > 3 && args[1] == "setslot":
		return args[1] + " " + args[3], args[2]
	}
	return "", ""
}

func (w *watched) note(what, slot, kind string) {
	line := fmt.Sprintf("%d %s %s %s %s", w.fence, slot, what, kind, w.addr)
	if err := appendLine(filepath.Join(w.Folder, "witness"), line); err != nil {
		panic(err)
	}
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line + "\n")
	return err
}

// lines returns the lines of a file of the folder.
func lines(t *testing.T, folder, name string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// dieWithin kills the process while the source carries out MIGRATE. The target is stopped, so that it can't end; and
// that the source doesn't answer shows that it has begun.
func (w *watched) dieWithin() {
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
	signalTo(os.Getpid(), syscall.SIGKILL)
	select {}
}

func signalTo(pid int, signal syscall.Signal) {
	if err := syscall.Kill(pid, signal); err != nil {
		panic(err)
	}
}

// A process is a child that runs.
type process struct {
	*exec.Cmd
	t      *testing.T
	folder string
	ended  chan struct{} // closed when it has been reaped
}

// startChild starts a process that serves the operation. wrap is a command to run it with, if any. Its output goes to
// the file "log" of the folder.
func startChild(t *testing.T, c child, wrap ...string) *process {
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
	argv := append(wrap, os.Args[0])
	p := &process{exec.Command(argv[0], argv[1:]...), t, c.Folder, make(chan struct{})}
	p.Env = append(os.Environ(), "RESHARD_CHILD="+string(text))
	p.Stdout, p.Stderr = log, log
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("process %d:\n%s", p.Process.Pid, strings.Join(tail(lines(t, p.folder, "log")), "\n"))
		}
	})
	return p
}

func tail(all []string) []string { return all[max(0, len(all)-30):] }

// awaitKill waits until the process has been killed by itself.
func (p *process) awaitKill() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("process %d goes on", p.Process.Pid)
	}
	if status := p.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		p.t.Fatalf("process %d ended with %v", p.Process.Pid, p.ProcessState)
	}
}

// stop makes a planned stop, and returns when the process has ended.
func (p *process) stop() time.Time {
	p.t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("process %d goes on", p.Process.Pid)
	}
	if !p.ProcessState.Success() {
		p.t.Errorf("process %d ended with %v", p.Process.Pid, p.ProcessState)
	}
	return time.Now()
}
