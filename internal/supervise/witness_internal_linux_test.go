package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// groupSignals are signals that may be sent to a whole group and don't stop it.
var groupSignals = []syscall.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGIO, syscall.SIGPWR, syscall.SIGCONT, 35, 63,
}

// signalGroup signals the helper's process group, which the command is in.
func (h *helper) signalGroup(sig syscall.Signal) {
	h.t.Helper()
	if err := syscall.Kill(-h.cmd.Process.Pid, sig); err != nil {
		h.t.Fatal(err)
	}
}

func tally(t *testing.T) *helper {
	t.Helper()
	h := supervised(t, nil, "sh", "-c", "exec "+selfAs(t, "tally"))
	h.word(1)
	return h
}

// nothingElse checks that the command received no other signal.
func (h *helper) nothingElse() {
	h.t.Helper()
	h.signal(lastSignal) // to kapi alone: it is passed on after all others
	h.expect("that is all")
	if r := h.done(); r.Text != "" {
		h.t.Error(r.Text)
	}
}

// timeout, kill -TERM -PGID, and supervisors that stop a group: the command gets the signal directly.
func TestSignalsToTheGroupReachTheCommandOnce(t *testing.T) {
	for _, sig := range groupSignals {
		t.Run(strconv.Itoa(int(sig)), func(t *testing.T) {
			h := tally(t)
			for range 2 { // the second counts as a new signal
				h.signalGroup(sig)
				h.expect(fmt.Sprint("got ", int(sig)))
			}
			h.nothingElse()
		})
	}
}

// A service manager, or killall for a user, signals each process in turn.
func TestSignalsToEachProcessReachTheCommandOnce(t *testing.T) {
	h := tally(t)
	for _, pid := range append(h.children(), h.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	h.expect("got 15")
	h.nothingElse()
}

// The same on a terminal, where SIGINT is otherwise left to the terminal.
func TestSignalsToKapiAloneInTheForeground(t *testing.T) {
	_, slave := kapitest.Terminal(t)
	h := supervised(t, onTerminal(slave), "sh", "-c", "exec "+selfAs(t, "tally"))
	h.word(1)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		h.signal(sig)
		h.expect(fmt.Sprint("got ", int(sig)))
	}
	h.nothingElse()
}

// A command in a group of its own doesn't get what is sent to kapi's group.
func TestSignalsToTheGroupReachACommandOutsideIt(t *testing.T) {
	h := supervised(t, nil, "setsid", "-w", "sh", "-c", "trap 'echo got 15; exit 3' TERM; echo up; while :; do sleep 0.01; done")
	h.expect("up")
	// setsid(1) forks only if it leads a group; either way the command is not in our group.
	r := h.children()
	outside := false
	for _, pid := range r {
		group, err := unix.Getpgid(pid)
		outside = outside || err == nil && group != h.cmd.Process.Pid
	}
	if !outside {
		t.Fatalf("the processes %v are all in the group", r)
	}
	h.signalGroup(syscall.SIGTERM)
	h.expect("got 15")
	h.done()
}

// timeout -k, and supervisord's killasgroup.
func TestKillOfTheGroupReachesTheCommand(t *testing.T) {
	h := tally(t)
	all := h.children()
	if len(all) < 2 {
		t.Fatalf("got the processes %v, want the command and the witness", all)
	}
	h.signalGroup(syscall.SIGKILL)
	for _, pid := range all {
		kapitest.Eventually(t, "end of all", func() bool { return !alive(strconv.Itoa(pid)) })
	}
}

// timeout(1) signals its command and then its group: that counts as one signal.
func TestSignalsThatMerge(t *testing.T) {
	start := time.Now()
	for _, test := range []struct {
		sig   syscall.Signal
		after time.Duration // after the signal to the group
		merge bool
	}{
		{syscall.SIGTERM, 0, true},
		{syscall.SIGTERM, patience - 1, true},
		{syscall.SIGTERM, patience, false},
		{syscall.SIGUSR1, 0, false}, // a different signal from the group's
		{syscall.Signal(40), 0, false},
	} {
		c := courier{shared: map[syscall.Signal]time.Time{}}
		if c.merges(receipt{syscall.SIGTERM, start}, everybody) || c.merges(receipt{syscall.Signal(40), start}, everybody) {
			t.Error("a signal to the group must not be dropped")
		}
		if got := c.merges(receipt{test.sig, start.Add(test.after)}, oneself); got != test.merge {
			t.Errorf("signal %d after %v: got %v, want %v", test.sig, test.after, got, test.merge)
		}
	}
}

// While a SIGCONT is pending in the witness, a stop makes the kernel drop it, and the other way round.
func TestStopsAndContinuationsUndoEachOther(t *testing.T) {
	for _, test := range []struct{ received, want []syscall.Signal }{
		{[]syscall.Signal{syscall.SIGCONT, syscall.SIGTERM, syscall.SIGTSTP}, []syscall.Signal{syscall.SIGTERM, syscall.SIGTSTP}},
		{[]syscall.Signal{syscall.SIGTTIN, syscall.SIGTSTP, syscall.SIGCONT}, []syscall.Signal{syscall.SIGCONT}},
		{[]syscall.Signal{syscall.SIGTTIN, syscall.SIGTTOU}, []syscall.Signal{syscall.SIGTTIN, syscall.SIGTTOU}},
	} {
		var c courier
		for _, sig := range test.received {
			c.receive(sig)
		}
		var got []syscall.Signal
		for _, r := range c.received {
			got = append(got, r.sig)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("after %v: got %v, want %v", test.received, got, test.want)
		}
	}
}

// Signals sent to kapi by name or command line must reach kapi alone, so that they are passed on.
func TestWitnessGoesByAnotherName(t *testing.T) {
	h := tally(t)
	w := h.witness()
	for _, file := range []string{"cmdline", "environ"} {
		if content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(w), file)); err == nil && len(content) > 0 {
			t.Errorf("%s: got %q, want nothing", file, content)
		}
	}
	if files, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(w), "fd")); err != nil || len(files) > 0 {
		t.Errorf("the witness has %d files open: %v", len(files), err)
	}
	h.nothingElse()
}

// If somebody kills the witness, signals are passed on by guessing.
func TestSignalsWithoutTheWitness(t *testing.T) {
	h := tally(t)
	w := h.witness()
	if err := syscall.Kill(w, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	kapitest.Eventually(t, "end of the witness", func() bool { return !alive(strconv.Itoa(w)) })
	h.signal(syscall.SIGTERM)
	h.expect("got 15")
	h.nothingElse()
}

// The witness is not part of the tree: it is not waited for, and ends with kapi.
func TestWitnessEndsWithKapi(t *testing.T) {
	h := tally(t)
	w := h.witness()
	_ = h.cmd.Process.Kill()
	kapitest.Eventually(t, "end of the witness", func() bool { return !alive(strconv.Itoa(w)) })
	h.signalGroup(syscall.SIGKILL) // the command
}

// Neither the witness nor the adopter counts as left by the command.
func TestLeftIsOnlyTheCommands(t *testing.T) {
	t.Setenv(leftVariable, "yes")
	for _, before := range []string{"", "sleep 600 & "} {
		h := behind(t, before, "sh", "-c", "sleep 600 & echo $!")
		h.expect("left [" + h.word(0) + " (sleep)]")
		h.signal(syscall.SIGTERM)
		h.done()
	}
}

// The outer kapi must not signal the witness of a nested one, which would take signals to the nested
// kapi alone for signals to the group.
func TestSignalsWithKapiWithin(t *testing.T) {
	h := supervised(t, nil, "sh", "-c", "exec 3>/dev/null; setsid -w "+selfAs(t, "supervise")+" sh -c 'exec "+selfAs(t, "tally")+"'")
	inner, _ := strconv.Atoi(h.word(1))
	h.signal(stopSignal) // asks all processes of the tree to end, but only continues those of the nested kapi
	next := func() string {
		for {
			if line := h.line(); line != "got 18" {
				return line
			}
		}
	}
	if got := next(); got != "got 15" {
		t.Fatalf("got %q", got)
	}
	if err := syscall.Kill(inner, lastSignal); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "that is all" {
		t.Errorf("got %q", got)
	}
	h.done()
}

// children returns the helper's children and grandchildren.
func (h *helper) children() (all []int) {
	h.t.Helper()
	dir, err := os.ReadDir("/proc")
	if err != nil {
		h.t.Fatal(err)
	}
	for _, entry := range dir {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		for at, ok := pid, true; ok && at > 1; {
			if at, ok = parentOf(at); ok && at == h.cmd.Process.Pid {
				all = append(all, pid)
				break
			}
		}
	}
	return all
}

func (h *helper) witness() int {
	h.t.Helper()
	for _, pid := range h.children() {
		if name, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm")); strings.TrimSpace(string(name)) == asideName {
			return pid
		}
	}
	h.t.Fatal("there is no witness")
	return 0
}
