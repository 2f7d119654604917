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

// The signals that somebody may send to a whole group, and that don't stop it.
var groupSignals = []syscall.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGIO, syscall.SIGPWR, syscall.SIGCONT, 35, 63,
}

// A helper's group is its own, and has its command in it.
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

// nothingElse checks that the command got no other signal.
func (h *helper) nothingElse() {
	h.t.Helper()
	h.signal(lastSignal) // to kapi alone: it is passed on behind all others
	h.expect("that is all")
	if r := h.done(); r.Text != "" {
		h.t.Error(r.Text)
	}
}

// timeout, kill -TERM -PGID, and supervisors that stop a group: the command gets it itself.
func TestSignalsToTheGroupReachTheCommandOnce(t *testing.T) {
	for _, sig := range groupSignals {
		t.Run(strconv.Itoa(int(sig)), func(t *testing.T) {
			h := tally(t)
			for range 2 { // a second one is another one
				h.signalGroup(sig)
				h.expect(fmt.Sprint("got ", int(sig)))
			}
			h.nothingElse()
		})
	}
}

// So do a service manager, and killall for a user, one process after the other.
func TestSignalsToEachProcessReachTheCommandOnce(t *testing.T) {
	h := tally(t)
	for _, pid := range append(h.children(), h.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	h.expect("got 15")
	h.nothingElse()
}

// On a terminal, too, where INT is its own business otherwise.
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

// What was started in a group of its own has not got what kapi's group has.
func TestSignalsToTheGroupReachACommandOutsideIt(t *testing.T) {
	h := supervised(t, nil, "setsid", "-w", "sh", "-c", "trap 'echo got 15; exit 3' TERM; echo up; while :; do sleep 0.01; done")
	h.expect("up")
	// setsid(1) has forked, as it led no group, or has not, and then the command is not in ours.
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

// timeout -k, and killasgroup.
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

// timeout(1) signals its command and then its group: that is one signal.
func TestSignalsThatMerge(t *testing.T) {
	start := time.Now()
	for _, test := range []struct {
		sig   syscall.Signal
		after time.Duration // behind one to the group
		merge bool
	}{
		{syscall.SIGTERM, 0, true},
		{syscall.SIGTERM, patience - 1, true},
		{syscall.SIGTERM, patience, false},
		{syscall.SIGUSR1, 0, false}, // another one than the group's
		{syscall.Signal(40), 0, false},
	} {
		c := courier{shared: map[syscall.Signal]time.Time{}}
		if c.merges(receipt{syscall.SIGTERM, start}, everybody) || c.merges(receipt{syscall.Signal(40), start}, everybody) {
			t.Error("one to the group must not be dropped")
		}
		if got := c.merges(receipt{test.sig, start.Add(test.after)}, oneself); got != test.merge {
			t.Errorf("signal %d after %v: got %v, want %v", test.sig, test.after, got, test.merge)
		}
	}
}

// While the witness has not come to take a SIGCONT the kernel drops it for a stop, and the other way round.
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
			t.Errorf("of %v there is left %v, want %v", test.received, got, test.want)
		}
	}
}

// Whoever signals kapi by its name or command line must reach kapi alone, so that the command is told.
func TestWitnessGoesByAnotherName(t *testing.T) {
	h := tally(t)
	w := h.witness()
	for _, file := range []string{"cmdline", "environ"} {
		if content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(w), file)); err == nil && len(content) > 0 {
			t.Errorf("%s: got %q, want nothing", file, content)
		}
	}
	if files, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(w), "fd")); err != nil || len(files) > 0 {
		t.Errorf("it has %d files open: %v", len(files), err)
	}
	h.nothingElse()
}

// Somebody ends it: the signals are passed on as well as can be.
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

// It is no work: it is not waited for, and leaves with kapi.
func TestWitnessEndsWithKapi(t *testing.T) {
	h := tally(t)
	w := h.witness()
	_ = h.cmd.Process.Kill()
	kapitest.Eventually(t, "end of the witness", func() bool { return !alive(strconv.Itoa(w)) })
	h.signalGroup(syscall.SIGKILL) // the command
}

// Neither witness nor adopter is what the command has left.
func TestLeftIsOnlyTheCommands(t *testing.T) {
	t.Setenv(leftVariable, "yes")
	for _, before := range []string{"", "sleep 600 & "} {
		h := behind(t, before, "sh", "-c", "sleep 600 & echo $!")
		h.expect("left [" + h.word(0) + " (sleep)]")
		h.signal(syscall.SIGTERM)
		h.done()
	}
}

// A kapi run within another: its witness is not the outer one's to signal, which would have it take
// what is sent to the inner kapi for the group's.
func TestSignalsWithKapiWithin(t *testing.T) {
	h := supervised(t, nil, "sh", "-c", "exec 3>/dev/null; setsid -w "+selfAs(t, "supervise")+" sh -c 'exec "+selfAs(t, "tally")+"'")
	inner, _ := strconv.Atoi(h.word(1))
	h.signal(stopSignal) // asks all processes of the tree but those of the inner one, which it continues only
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

// children returns the helper's children, and theirs.
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
