package supervise

import (
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

// withGrace sets the helper's Command.Grace.
func withGrace(grace string) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, graceVariable+"="+grace) }
}

func TestStopReachesEveryProcess(t *testing.T) {
	// One process in a session of its own, one without environment, one that is stopped.
	h := supervised(t, withGrace("1h"), "sh", "-c", `
		setsid sh -c 'echo $$; exec sleep 60' &
		env -i /bin/sh -c 'echo $$; exec sleep 60' &
		sh -c 'echo $$; kill -STOP $$; exec sleep 60' &
		wait; echo never`)
	pids := []string{h.line(), h.line(), h.line()}
	h.signal(stopSignal)
	if r := h.done(); r.Result.Signal != syscall.SIGTERM {
		t.Errorf("got %q, want a death by SIGTERM", r.Text)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %s is left", pid)
		}
	}
}

func TestStopKillsAfterTheGrace(t *testing.T) {
	h := supervised(t, withGrace("20ms"), "sh", "-c", `
		trap '' TERM
		setsid sh -c 'echo $$; while :; do sleep 60; done' &
		echo $$; while :; do sleep 60; done`)
	pids := []string{h.line(), h.line()}
	h.signal(stopSignal)
	if r := h.done(); r.Result.Signal != syscall.SIGKILL {
		t.Errorf("got %q, want a death by SIGKILL", r.Text)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %s is left", pid)
		}
	}
}

func TestStopOfATreeThatKeepsForking(t *testing.T) {
	h := supervised(t, withGrace("1ms"), "sh", "-c", `
		trap '' TERM
		f() { while :; do (trap '' TERM; sleep 60) & [ $((i=i+1)) -lt 40 ] || break; done; }
		f; echo up; f; wait`)
	h.expect("up")
	h.signal(stopSignal)
	if r := h.done(); r.Result.Signal != syscall.SIGKILL {
		t.Errorf("got %q, want a death by SIGKILL", r.Text)
	}
}

// A nested kapi run passes the signal on to its own command, which must get it once: many programs take
// a second one to mean "at once".
func TestStopOfANestedRunSignalsItsCommandOnce(t *testing.T) {
	self, counter := selfAs(t, "supervise"), selfAs(t, "count")
	h := supervised(t, withGrace("1h"), "sh", "-c", `exec `+self+` sh -c 'exec `+counter+`' 3>/dev/null`)
	pid, err := strconv.Atoi(h.word(1))
	if err != nil {
		t.Fatal(err)
	}
	h.signal(stopSignal)
	h.expect("got 15")
	// A second SIGTERM would arrive before this signal.
	if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	h.expect("INT 0 TERM 1")
	h.done()
}

// When the nested kapi run is gone, the outer one stops what it left running.
func TestStopOfWhatANestedRunLeft(t *testing.T) {
	self := selfAs(t, "supervise")
	h := supervised(t, withGrace("1h"), "sh", "-c", self+` sh -c 'echo $$ $PPID; exec sleep 60' 3>/dev/null; echo over; exec sleep 60`)
	nested := h.word(1)
	pid, err := strconv.Atoi(nested)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.expect("over")
	h.signal(stopSignal)
	if r := h.done(); r.Result.Signal != syscall.SIGTERM {
		t.Errorf("got %q, want a death by SIGTERM", r.Text)
	}
}
