package supervise

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
)

// selfAs returns a shell command that runs this binary in a role.
func selfAs(t *testing.T, role string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return "env " + helperVariable + "=" + role + " " + self
}

func TestSignalsArePassedOn(t *testing.T) {
	for _, sig := range []syscall.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1,
		syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGIO, syscall.SIGPWR, 35, 64,
	} {
		t.Run(strconv.Itoa(int(sig)), func(t *testing.T) {
			n := int(sig)
			h := supervised(t, nil, "sh", "-c",
				fmt.Sprintf("trap 'echo got %d; exit 9' %d; echo up; while read -r x; do :; done", n, n))
			h.expect("up")
			h.signal(sig)
			h.expect(fmt.Sprint("got ", n))
			if r := h.done(); r.Result.Code != 9 {
				t.Errorf("got %q, want exit status 9", r.Text)
			}
		})
	}
}

// The command is gone, but a process that it left runs on: from then on that process gets the signals.
func TestSignalsGoToWhatTheCommandLeft(t *testing.T) {
	h := supervised(t, nil, "sh", "-c", "sh -c 'echo $$ $PPID; exec sleep 60' & wait")
	words := strings.Fields(h.line())
	h.signal(syscall.SIGTERM)
	kapitest.Eventually(t, "end of the command", func() bool { return !alive(words[1]) })
	if !alive(words[0]) {
		t.Fatal("the first signal was for the command alone")
	}
	h.signal(syscall.SIGTERM)
	if r := h.done(); r.Result.Signal != syscall.SIGTERM {
		t.Errorf("got %q, want a death by SIGTERM", r.Text)
	}
}

// The child must inherit the signal dispositions that kapi was started with.
func TestDispositionsAreInherited(t *testing.T) {
	show := "grep -E 'Sig(Blk|Ign)' /proc/self/status"
	for _, before := range []string{
		"", "trap '' HUP; ", "trap '' INT; ", "trap '' TSTP TTIN TTOU; ", "trap '' CONT; ",
	} {
		want, err := exec.Command("sh", "-c", before+show).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := dispositions(t, before, show); got != string(want) {
			t.Errorf("%sgot %q, want %q", before, got, want)
		}
	}
}

// dispositions returns the output of show when supervised by a process started after the shell commands
// in before.
func dispositions(t *testing.T, before, show string) string {
	t.Helper()
	h := startHelperFrom(t, "/bin/sh", "-c", before+selfAs(t, "supervise")+` sh -c "$1"`, "sh", show)
	got := h.line() + "\n" + h.line() + "\n"
	h.done()
	return got
}

// docs/run.md lists these. Go's runtime replaces them before a program can look.
func TestDispositionsThatCannotBeInherited(t *testing.T) {
	show := "grep -E 'Sig(Blk|Ign)' /proc/self/status"
	untouched, err := exec.Command("sh", "-c", show).Output() // with whatever these tests were started with
	if err != nil {
		t.Fatal(err)
	}
	if got := dispositions(t, "trap '' PIPE QUIT TERM USR1 USR2; ", show); got != string(untouched) {
		t.Errorf("got %q: some can be, so docs/run.md is wrong", got)
	}
}

// onTerminal makes the terminal the helper's controlling terminal and its standard input.
func onTerminal(slave *os.File) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Stdin = slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
}

func TestCtrlCReachesTheCommandOnce(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	h := supervised(t, onTerminal(slave), "sh", "-c", "exec "+selfAs(t, "count"))
	h.word(1)
	fmt.Fprint(master, "\x03")
	h.expect("got 2")
	h.signal(syscall.SIGUSR1) // passed on after the other
	h.expect("INT 1 TERM 0")
	if r := h.done(); r.Result.Code != 0 {
		t.Error(r.Text)
	}
}

func TestCtrlCEndsTheCommand(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	h := supervised(t, onTerminal(slave), "sh", "-c", "echo up; exec sleep 60")
	h.expect("up")
	fmt.Fprint(master, "\x03")
	if r := h.done(); r.Text != "killed by signal 2 (SIGINT)" || r.Result.Code != 130 {
		t.Errorf("got %d %q", r.Result.Code, r.Text)
	}
}

// job starts a helper as a job of a shell on a terminal. A line written to goOn makes the shell
// continue it.
func job(t *testing.T, slave *os.File, args ...string) (h *helper, goOn *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	t.Cleanup(func() { w.Close() })
	return startHelper(t, "shell", func(cmd *exec.Cmd) {
		onTerminal(slave)(cmd)
		cmd.ExtraFiles = append(cmd.ExtraFiles, r)
	}, args...), w
}

func TestCtrlZStopsAllInAQuietMoment(t *testing.T) {
	ctrlZ(t)
	t.Run("with a pseudo-terminal", func(t *testing.T) {
		t.Setenv(outputVariable, strconv.Itoa(int(TTYAlways)))
		ctrlZ(t)
	})
}

func ctrlZ(t *testing.T) {
	t.Helper()
	master, slave := kapitest.Terminal(t)
	h, w := job(t, slave, "fg", "sh", "-c", "echo $$ $PPID; exec sleep 60")
	words := strings.Fields(h.line())
	for range 2 { // it can be repeated
		fmt.Fprint(master, "\x1a")
		h.expect("quiet")
		h.expect("stopped by " + strconv.Itoa(int(syscall.SIGSTOP)))
		kapitest.Eventually(t, "both are stopped", func() bool { return state(words[0])+state(words[1]) == "TT" })
		fmt.Fprintln(w, "fg")
		h.expect("on")
	}
	pid, _ := strconv.Atoi(words[1])
	_ = syscall.Kill(pid, syscall.SIGTERM)
	if r := h.done(); r.Result.Signal != syscall.SIGTERM {
		t.Errorf("got %q, want a death by SIGTERM", r.Text)
	}
}

// The shell's prompt appears only after what a program prints while it is being stopped. If the program
// then signals its whole group, as vim does, nothing is stopped twice.
func TestCtrlZWaitsForTheCommand(t *testing.T) {
	t.Setenv(outputVariable, strconv.Itoa(int(TTYAlways)))
	master, slave := kapitest.Terminal(t)
	h, w := job(t, slave, "fg", "sh", "-c", `
		stop() { sleep 0.1; echo farewell; trap - TSTP; kill -TSTP 0; trap stop TSTP; echo back; }
		trap stop TSTP; echo up; while :; do read -r x; [ "$x" = end ] && exit 8; done`)
	h.expect("up")
	for range 2 {
		fmt.Fprint(master, "\x1a")
		h.expect("farewell")
		h.expect("quiet")
		h.expect("stopped by " + strconv.Itoa(int(syscall.SIGSTOP)))
		fmt.Fprintln(w, "fg")
		if on := []string{h.line(), h.line()}; !slices.Contains(on, "on") || !slices.Contains(on, "back") {
			t.Fatalf("got %q", on)
		}
	}
	fmt.Fprintln(master, "end")
	if r := h.done(); r.Result.Code != 8 {
		t.Errorf("got %q, want exit status 8", r.Text)
	}
}

// A stop signal that is sent to kapi alone stops the command too.
func TestStopSignalIsPassedOn(t *testing.T) {
	_, slave := kapitest.Terminal(t)
	h, w := job(t, slave, "bg", "sh", "-c", "echo $$ $PPID; exec sleep 60")
	words := strings.Fields(h.line())
	pid, _ := strconv.Atoi(words[1])
	_ = syscall.Kill(pid, syscall.SIGTSTP)
	h.expect("quiet")
	h.expect("stopped by " + strconv.Itoa(int(syscall.SIGSTOP)))
	kapitest.Eventually(t, "the command is stopped", func() bool { return state(words[0]) == "T" })
	fmt.Fprintln(w, "fg")
	h.expect("on")
	kapitest.Eventually(t, "the command continues", func() bool { return state(words[0]) == "S" })
	_ = syscall.Kill(pid, syscall.SIGTERM)
	if r := h.done(); r.Result.Signal != syscall.SIGTERM {
		t.Errorf("got %q, want a death by SIGTERM", r.Text)
	}
}

// Ctrl-Z does nothing where nobody could continue the process (the first process of a container), as
// for any command.
func TestCtrlZWithoutAShell(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	h := supervised(t, onTerminal(slave), "sh", "-c", "trap 'exit 7' USR1; echo up; while :; do read -r x; done")
	h.expect("up")
	fmt.Fprint(master, "\x1a")
	// The terminal echoes the character after having sent the signal.
	if echo, err := bufio.NewReader(master).ReadString('Z'); err != nil {
		t.Fatalf("%q: %v", echo, err)
	}
	h.signal(syscall.SIGUSR1)
	if r := h.done(); r.Result.Code != 7 {
		t.Errorf("got %q, want exit status 7", r.Text)
	}
}

func TestHoldStops(t *testing.T) {
	master, slave := kapitest.Terminal(t)
	h, w := job(t, slave, "fg", "hold")
	pid, _ := strconv.Atoi(h.word(1))
	for range 2 {
		fmt.Fprint(master, "\x1a")
		h.expect("quiet")
		h.expect("stopped by " + strconv.Itoa(int(syscall.SIGSTOP)))
		fmt.Fprintln(w, "fg")
		h.expect("on")
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	h.expect("ended 0")
}

// A command that has ended but isn't reaped yet gets no more signals, as they would be lost.
func TestHasExited(t *testing.T) {
	cmd := exec.Command("sh", "-c", "read x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	c := &child{pid: cmd.Process.Pid}
	if c.hasExited() {
		t.Error("hasExited returned true before the command exited")
	}
	in.Close()
	kapitest.Eventually(t, "end of the command", c.hasExited)
	if !c.hasExited() {
		t.Error("hasExited reaped it")
	}
}
