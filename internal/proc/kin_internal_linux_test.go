package proc

import (
	"bufio"
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A Kin finds the groups and sessions of what a process starts, however it got away, and looks at nothing while none of
// them runs.
func TestKin(t *testing.T) {
	shell := exec.Command("sh", "-c", `while read line; do eval "$line"; echo done; done`)
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	root := start(t, shell)
	answers := bufio.NewScanner(out)
	do := func(line string) string {
		t.Helper()
		fmt.Fprintln(in, line)
		if !answers.Scan() {
			t.Fatal(answers.Err())
		}
		return answers.Text()
	}
	k := NewKin(Ref{root.PID, root.StartTime})
	look := func() (groups, sessions []int) {
		t.Helper()
		groups, sessions, err := k.Look()
		if err != nil {
			t.Fatal(err)
		}
		return groups, sessions
	}
	settle := func() { // the shell goes on a little after its answer
		t.Helper()
		for range 1000 {
			if groups, _ := look(); groups == nil {
				return
			}
		}
		t.Fatal("it keeps looking at processes that sleep")
	}
	do(":")
	if groups, _ := look(); !slices.Equal(groups, []int{root.PID}) {
		t.Errorf("the groups are %v, want that of %d", groups, root.PID)
	}
	settle()
	do("setsid sleep 600 &")
	var sessions []int
	for len(sessions) < 2 { // until it has executed setsid
		_, sessions = look()
	}
	settle()
	do("sleep 600 & kill -9 $!; wait $!")
	if _, again := look(); !slices.Equal(again, sessions) {
		t.Errorf("after another command the sessions are %v, want %v", again, sessions)
	}
	settle()
	kill(t, sessions[1], syscall.SIGKILL)
	do(":")
	for len(sessions) > 1 {
		if _, now := look(); now != nil {
			sessions = now
		}
		do(":") // the shell notices that its child has ended
	}
}

// A process whose running time can't be measured is looked at each time.
func TestKinWithoutClock(t *testing.T) {
	k := NewKin(Ref{1, 0})
	k.looked, k.ran = time.Now(), map[int]int64{1 << 30: 0}
	if k.idle() {
		t.Error("a process that doesn't exist counts as idle")
	}
}
