package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/pgtest"
)

func inDatabase(t *testing.T) string {
	database := pgtest.For(t, pgtest.Options{})
	return database.DSN(database.Database(t))
}

// host is a command that runs another as if on a machine of its own: with a name and processes of its own, so that
// nobody else can see whether they live. A shell is in between, because the first process of a namespace can't stop
// itself.
func host(name string) []string {
	argv := []string{"unshare"}
	if os.Geteuid() != 0 {
		argv = append(argv, "--user", "--map-root-user")
	}
	return append(argv, "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", "hostname "+name+` && "$@"; exit`, "sh")
}

// inside returns the process that a host runs: the child of the shell, which is the child of unshare.
func (p *process) inside() int {
	p.t.Helper()
	pid := p.Process.Pid
	for range 2 {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		if err != nil {
			p.t.Fatal(err)
		}
		var children []string
		for _, file := range files {
			data, _ := os.ReadFile(file)
			children = append(children, strings.Fields(string(data))...)
		}
		if len(children) != 1 {
			p.t.Fatalf("process %d has the children %v, want one", pid, children)
		}
		pid, _ = strconv.Atoi(children[0])
	}
	return pid
}

// A process is frozen right after it was allowed to send a command, for longer than the second limit. Another host takes
// the action over and ends it, and a second resharding moves the slot back. Then the process thaws and sends its command.
func TestFrozenHost(t *testing.T) {
	t.Parallel()
	s := newStage(t, inDatabase(t), 100, 1000, 1<<20)
	s.slots = []int{60}
	s.load.start(s.Key)
	t.Run("before MIGRATE", func(t *testing.T) { // it is refused
		s.thawed(t, migrate)
		s.check(t, s.nodes[1], s.nodes[0])
	})
	if os.Getenv("KAPI_SOAK") != "" {
		t.Run("before IMPORTING", func(t *testing.T) { s.leavesOpen(t, importing, s.nodes[1], open{60, true, s.nodes[0].id}) })
		t.Run("before MIGRATING", func(t *testing.T) { s.leavesOpen(t, migrating, s.nodes[0], open{60, false, s.nodes[1].id}) })
	}
	s.load.end() // what it writes to a node that claims the slot by mistake may be lost
	t.Run("before NODE", func(t *testing.T) {
		s.thawed(t, owning)
		eventually(t, 10*time.Second, func() error {
			if owner := s.nodes[1].view().owner[60]; owner.id != s.nodes[0].id {
				return fmt.Errorf("the former target still says that the slot belongs to %v", owner)
			}
			return nil
		})
		s.check(t, s.nodes[1], s.nodes[0])
	})
	s.load.checkAll(t, s.Key, s.bigBytes)
}

// thawed freezes a process before it sends a command to move slot 60, and thaws it when the slot has been moved back.
func (s *stage) thawed(t *testing.T, moment string) {
	t.Helper()
	from, to := s.nodes[0], s.nodes[1]
	s.Folder = t.TempDir()
	c := s.child
	c.Freeze, c.Count = moment, 1
	frozen := startChild(t, c, host("first")...)
	id := s.control.begin(t, s.moving(t, from, to, "60"))
	is := func(line string) bool { return strings.Contains(line, " frozen before "+moment) }
	s.awaitWitness(t, is)
	second := startChild(t, s.child, host("second")...)
	if last := s.control.checkEnd(t, id); last.Attempt != 2 || last.Runner == nil || last.Runner.Host != "second" {
		t.Errorf("it ended as %+v, want the second attempt on the second host", last)
	}
	s.check(t, from, to)
	s.control.checkEnd(t, s.control.begin(t, s.moving(t, to, from, "60")))
	s.check(t, to, from)

	before := len(lines(t, s.Folder, "witness"))
	signalTo(frozen.inside(), syscall.SIGCONT)
	s.awaitWitness(t, func(string) bool { return len(lines(t, s.Folder, "witness")) >= before+2 })
	for _, p := range []*process{frozen, second} {
		signalTo(p.inside(), syscall.SIGTERM)
		select {
		case <-p.ended: // its operation has ended
		case <-time.After(patience):
			t.Fatalf("process %d goes on", p.Process.Pid)
		}
		if !p.ProcessState.Success() {
			t.Errorf("process %d ended with %v", p.Process.Pid, p.ProcessState)
		}
	}
	if after := lines(t, s.Folder, "witness")[before:]; len(after) != 2 || !strings.Contains(after[1], " ended "+moment) {
		t.Errorf("the process that thawed did %q, want %s alone", after, moment)
	}
}

// leavesOpen checks that a process that thaws opens the slot again, in one node, and that the next preflight says so.
func (s *stage) leavesOpen(t *testing.T, moment string, at *server, want open) {
	t.Helper()
	s.thawed(t, moment)
	for _, n := range s.nodes {
		if v := n.view(); n == at && !slices.Equal(v.open, []open{want}) || n != at && len(v.open) > 0 || v.owner[60].id != s.nodes[0].id {
			t.Errorf("%s has open: %v, and says that %v owns the slot", n.addr, v.open, v.owner[60])
		}
	}
	p := startChild(t, s.child)
	s.control.offered(t)
	var refused *kapi.PreflightError
	_, err := s.control.StartOperation(t.Context(), "reshard", s.moving(t, s.nodes[0], s.nodes[1], "60"), kapi.StartOptions{})
	if !errors.As(err, &refused) {
		t.Errorf("the next resharding is refused with %v", err)
	}
	p.stop()
	at.must("cluster", "setslot", 60, "stable")
}

func (s *stage) awaitWitness(t *testing.T, is func(line string) bool) {
	t.Helper()
	eventually(t, patience, func() error {
		data, err := os.ReadFile(filepath.Join(s.Folder, "witness"))
		if err == nil && !slices.ContainsFunc(strings.Split(string(data), "\n"), is) {
			err = fmt.Errorf("the witness has not seen it: %s", data)
		}
		return err
	})
}

// TestPlannedStop stops a process while a MIGRATE takes longer than the lease. It ends that, and hands over.
func TestPlannedStop(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { plannedStop(t, inFile(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { plannedStop(t, inDatabase(t)) })
}

func plannedStop(t *testing.T, store string) {
	t.Parallel()
	s := newStage(t, store, 80, 500, 5<<20)
	from, to := s.nodes[0], s.nodes[1]
	s.load.start(s.Key)
	s.Target = to.cmd.Process.Pid
	c := s.child
	c.Stall, s.bigMS = migrate, 3000
	first := startChild(t, c)
	id := s.control.begin(t, s.arguments(t, from, to))
	s.awaitWitness(t, func(line string) bool { return strings.HasSuffix(line, "60 begins migrate "+from.addr) })
	second := startChild(t, s.child)
	asked := time.Now()
	end := first.stop()
	to.signal(syscall.SIGCONT)
	if took := end.Sub(asked); took < lease {
		t.Errorf("the process took %v to stop, less than the lease: the test shows nothing", took)
	}
	if last := s.control.checkEnd(t, id); last.Attempt > 1 {
		t.Errorf("it ended as %+v, want no attempt counted", last)
	}
	history := s.control.history(id) // which may lack the moment between the two
	runs := slices.IndexFunc(history, func(a kapi.Action) bool { return a.Runner != nil && a.Runner.PID == second.Process.Pid })
	if runs < 0 {
		t.Error("the second process never had it")
	} else if late := time.UnixMilli(history[runs].UpdatedAt).Sub(end); late > time.Second {
		t.Errorf("the second process has it %v after the end of the first", late)
	}
	s.check(t, from, to)
	if fences := s.checkWitness(t); len(fences) != 2 {
		t.Errorf("the fences are %v, want 2", fences)
	}
	second.stop()
	s.checkKeys(t, to)
}
