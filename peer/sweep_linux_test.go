package peer_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// neighbour returns a live runner of this machine: it has this process's pid and start time.
func neighbour() store.RunnerRecord {
	r := stranger()
	r.BootID = proc.Self().BootID
	return r
}

// noSuchPID is above the highest pid of Linux.
const noSuchPID = 1<<22 + 1

// The action of a runner that is proven dead fails at once, whenever that is found out. Its keys are freed if that
// was declared.
func TestDeadRunner(t *testing.T) {
	for name, tt := range map[string]struct {
		change     func(*store.RunnerRecord)
		oneMachine bool
		after      time.Duration // of silence
		want       string
	}{
		"gone": {
			change: func(r *store.RunnerRecord) { r.PID = noSuchPID },
			want:   died(noSuchPID),
		},
		"its pid was reused": {
			change: func(r *store.RunnerRecord) { r.StartTime-- },
			want:   died(os.Getpid()),
		},
		"before the last restart": {
			change:     func(r *store.RunnerRecord) { r.BootID = stranger().BootID },
			oneMachine: true,
			after:      sceneLease,
			want:       "its runner died: bot-2 was restarted; it last said: slot 5",
		},
	} {
		for _, release := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, release %v", name, release), func(t *testing.T) {
				play(t, func(t *testing.T, s *scene) {
					s.link.oneMachine = tt.oneMachine
					if tt.after > 0 {
						s.uptime = time.Minute
						s.link.alter = func(r *store.RunnerRecord) { r.HeardAt -= (2 * s.uptime).Milliseconds() }
					}
					runner := neighbour()
					tt.change(&runner)
					leave := func(key string) store.Record {
						return s.leave(runner, func(r *store.Record) { r.ReleaseOnFailure, r.Keys = release, []string{key} })
					}
					check := func(left store.Record) {
						t.Helper()
						a := s.want(left.ID, kapi.StatusFailed, tt.want)
						if held := slices.Equal(a.Keys, left.Keys); held == release || len(a.Keys) > 0 != held {
							t.Errorf("release %v: it holds %v", release, a.Keys)
						}
						s.wantSeq(left.Seq + 1)
					}
					left := leave("before")
					s.open()
					if tt.after > 0 {
						s.want(left.ID, kapi.StatusRunning, "slot 5")
						s.at(tt.after)
					}
					check(left) // the first answer shows it already
					s.at(tt.after + time.Second)
					left = leave("after")
					s.want(left.ID, kapi.StatusRunning, "slot 5")
					s.at(2*tt.after + 3*time.Second) // one sweep later
					check(left)

					again := kapi.Spec{Keys: left.Keys, DismissFailed: true} // allowed, because its work is known to have ended
					start(t, s.k, again, untilStopped)
				})
			})
		}
	}
}

func died(pid int) string {
	return fmt.Sprintf("its runner died: process %d on bot-2 is gone; it last said: slot 5", pid)
}

// aProcess starts a process that does nothing until the test ends.
func aProcess(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(cmd) })
	return cmd
}

// worked records for a runner that a process with this nonce does the work of its action.
func worked(t *testing.T, r *store.RunnerRecord, action, nonce string) {
	t.Helper()
	// In a control group without processes, so that hidden processes are not taken for the action's.
	scope, err := os.Readlink("/proc/self/ns/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	work, err := json.Marshal(map[string]proc.Work{action: {Mark: proc.MarkOf(nonce), ControlGroup: scope + "\n0::/none"}})
	if err != nil {
		t.Fatal(err)
	}
	r.Work = string(work)
}

// end kills a process and waits for it. Later calls do nothing.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// runs makes a process of this machine the runner.
func runs(t *testing.T, r *store.RunnerRecord, pid int) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	r.PID = pid
	if r.StartTime, err = strconv.ParseUint(strings.Fields(rest)[19], 10, 64); err != nil { // field 22 of proc(5)
		t.Fatal(err)
	}
}

// A runner that is provably alive never fails because of silence. Once it has died, it fails at once.
func TestSilentButAlive(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.link.ask(func(method string) error {
			if method == "Feed" {
				time.Sleep(50 * time.Second) // without polls, which would take most of the real time
			}
			return nil
		})
		process, runner := aProcess(t), neighbour()
		runs(t, &runner, process.Process.Pid)
		left := s.leave(runner)
		s.k = s.openPeer(s.link, peer.Options{StoreTimeout: time.Hour}.WithReadTimeout(time.Hour).WithSweepEvery(time.Minute))
		s.at(2 * time.Minute)
		alive := fmt.Sprintf("%s; process %d is alive", noWord, runner.PID)
		s.want(left.ID, kapi.StatusImpacted, alive)
		s.link.count("Commit")
		s.at(48 * time.Hour)
		s.want(left.ID, kapi.StatusImpacted, alive)
		if n := s.link.count("Commit"); n != 0 {
			t.Errorf("%d transactions although nothing changed", n)
		}
		s.wantHeld(left.ID)

		if err := process.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for { // the system may deliver the signal late
			id := proc.Self()
			id.PID, id.StartTime = runner.PID, runner.StartTime
			if id.Stopped() {
				break
			}
		}
		s.at(49 * time.Hour)
		s.want(left.ID, kapi.StatusImpacted, fmt.Sprintf("%s; process %d is stopped", noWord, runner.PID))
		end(process)
		s.at(49*time.Hour + time.Minute)
		s.want(left.ID, kapi.StatusFailed, died(runner.PID))
	})
}

// A process that a dead runner left behind is asked to end by the peer that finds it.
func TestSurvivorsAreAskedToEnd(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		id := fmt.Sprintf("asked-%d", os.Getpid())
		nonce := proc.NewNonce()
		process, runner := aProcess(t, proc.NonceVariable+"="+nonce), neighbour()
		runner.PID = noSuchPID
		worked(t, &runner, id, nonce)
		s.leave(runner, func(r *store.Record) { r.ID = id })
		s.open()
		_ = process.Wait()
		if status, ok := process.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
			t.Errorf("it ended so: %v", process.ProcessState)
		}
		s.at(time.Minute)
		s.want(id, kapi.StatusFailed, died(noSuchPID))
	})
}

// While a process that a dead runner started for the action still runs, the action is ongoing and holds its key.
func TestSurvivors(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		id := fmt.Sprintf("survived-%d", os.Getpid())
		nonce := proc.NewNonce()
		process, runner := aProcess(t, proc.NonceVariable+"="+nonce), neighbour()
		runner.PID = noSuchPID
		worked(t, &runner, id, nonce)
		left := s.leave(runner, func(r *store.Record) { r.ID, r.LeaveRunning = id, true })
		s.open()
		said := fmt.Sprintf("its runner (process %d on bot-2) is gone; still running: %d (sleep)",
			noSuchPID, process.Process.Pid)
		s.want(id, kapi.StatusImpacted, said)
		s.at(sceneGiveUp + time.Second) // even after this time
		s.want(id, kapi.StatusImpacted, said)
		s.wantSeq(left.Seq + 1)
		s.wantHeld(id)
		end(process)
		s.at(sceneGiveUp + 2*time.Second)
		s.want(id, kapi.StatusFailed, died(noSuchPID))
		start(t, s.k, kapi.Spec{Keys: left.Keys}, untilStopped)
	})
}

// Peers that sweep at the same moment write one verdict together.
func TestOneVerdict(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		s.open()
		for range 3 {
			s.openPeer(&link{Store: s.store}, peer.Options{})
		}
		silent := s.leave(stranger())
		gone := neighbour()
		gone.ID, gone.PID = "gone", noSuchPID
		dead := s.leave(gone, func(r *store.Record) { r.Keys = nil })
		before := s.head().Seq
		s.at(2 * time.Second)
		s.want(dead.ID, kapi.StatusFailed, died(noSuchPID))
		s.wantSeq(before + 1)
		s.at(sceneLease + 2*time.Second)
		s.want(silent.ID, kapi.StatusImpacted, noWord)
		s.wantSeq(before + 2)
		s.at(sceneGiveUp + 2*time.Second)
		s.want(silent.ID, kapi.StatusFailed, noWord+"; not proven dead; it last said: slot 5")
		s.wantSeq(before + 3)
	})
}

// Another boot id doesn't prove a restart: a container, or a virtual machine that shares the file, has its
// own. A runner that was heard since this boot began is only silent.
func TestAnotherBootIsNoRestart(t *testing.T) {
	play(t, func(_ *testing.T, s *scene) {
		s.link.oneMachine, s.uptime = true, time.Hour
		runner := neighbour()
		runner.BootID = stranger().BootID
		left := s.leave(runner)
		s.open()
		s.at(sceneLease + 2*time.Second)
		s.want(left.ID, kapi.StatusImpacted, noWord)
		s.wantHeld(left.ID)
	})
}

// An action that has just ended looks dead in a view that is behind. The feed is read before a verdict,
// so that none is written only to be refused.
func TestEndedMeanwhile(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		runner := neighbour()
		runner.PID = noSuchPID
		left := s.leave(runner)
		ended := false
		s.link.ask(func(method string) error {
			if method == "Runners" && !ended { // the look has begun
				ended = true
				s.commit(func(seq uint64) store.Writes {
					r := left
					r.Seq, r.Status, r.Keys, r.State = seq, kapi.StatusCompleted, nil, ""
					return store.Writes{Update: []store.Record{r}, Free: []string{"reshard"}}
				})
			}
			return nil
		})
		s.open()
		s.at(2 * time.Second)
		if n := s.link.count("Commit"); n != 0 || !ended {
			t.Errorf("%d transactions about an action that has ended (%v)", n, ended)
		}
		s.wantSeq(left.Seq + 1)
	})
}

// If a newer version has recorded processes in a form that this one can't read, they may still be running.
func TestUnreadableWork(t *testing.T) {
	play(t, func(_ *testing.T, s *scene) {
		runner := neighbour()
		runner.PID, runner.Work = noSuchPID, "in a form of later"
		left := s.leave(runner)
		s.open()
		state := fmt.Sprintf("its runner (process %d on bot-2) is gone; what it started may still be running, and can't be seen from here", noSuchPID)
		s.want(left.ID, kapi.StatusImpacted, state)
		s.wantHeld(left.ID)
		s.at(sceneGiveUp + time.Second)
		s.want(left.ID, kapi.StatusFailed, state+"; not proven dead; it last said: slot 5")
		s.wantHeld(left.ID)
	})
}

// However many peers find a process that a dead runner left behind, only one asks it to end: many programs
// take a second signal as "end at once".
func TestOneAsksSurvivors(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		nonce, id := proc.NewNonce(), fmt.Sprintf("asked-once-%d", os.Getpid())
		process := exec.Command("sh", "-c", `trap "" TERM; while :; do sleep 1; done`)
		process.Env = append(os.Environ(), proc.NonceVariable+"="+nonce)
		process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = syscall.Kill(-process.Process.Pid, syscall.SIGKILL)
			_ = process.Wait()
		})
		runner := neighbour()
		runner.PID = noSuchPID
		worked(t, &runner, id, nonce)
		var logs [3]kapitest.Output
		for i := range logs {
			o := peer.Options{Logger: newLogger(&logs[i])}
			openPeer(t, &link{Store: s.store}, o.WithClock(s.sinceBoot, s.awake))
		}
		s.leave(runner, func(r *store.Record) { r.ID = id })
		s.at(4 * time.Second)
		asked := 0
		for i := range logs {
			asked += strings.Count(logs[i].String(), fmt.Sprintf("pid=%d ", process.Process.Pid))
		}
		if asked != 1 {
			t.Errorf("process %d was asked %d times to end", process.Process.Pid, asked)
		}
	})
}

// TestVerdictsAreLogged: each action that failed because of its runner is logged once, and so is each action that was
// given up and whose work is known to have ended.
func TestVerdictsAreLogged(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		var log kapitest.Output
		o := peer.Options{Logger: newLogger(&log)}
		s.k = openPeer(t, &link{Store: s.store}, o.WithClock(s.sinceBoot, s.awake))
		runner := neighbour()
		runner.PID = noSuchPID
		dead := s.leave(runner, func(*store.Record) {})
		givenUp := s.leave(runner, func(r *store.Record) {
			r.Status, r.NotProvenDead, r.Keys = kapi.StatusFailed, true, []string{"another"}
		})
		s.at(7 * time.Second) // actions that were given up are judged every 5 s
		s.want(dead.ID, kapi.StatusFailed, died(noSuchPID))
		for id, want := range map[string]string{
			dead.ID:    "action failed because of its runner",
			givenUp.ID: "the work of an action that was not proven dead is known to have ended",
		} {
			if got := strings.Count(log.String(), fmt.Sprintf("msg=%q action=%s", want, id)); got != 1 {
				t.Errorf("the log says %q %d times:\n%s", want, got, log.String())
			}
		}
	})
}
