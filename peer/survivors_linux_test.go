package peer_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A bereaved action is one whose runner is dead, while processes of its work ignore SIGTERM.
type bereaved struct {
	*scene
	id, nonce string
}

var bereavements atomic.Int64

func (s *scene) bereaved() *bereaved {
	s.t.Helper()
	b := &bereaved{s, fmt.Sprintf("bereaved-%d-%d", os.Getpid(), bereavements.Add(1)), proc.NewNonce()}
	runner := neighbour()
	runner.PID = noSuchPID
	worked(s.t, &runner, b.id, b.nonce)
	s.leave(runner, func(r *store.Record) { r.ID = b.id })
	return b
}

// survivor starts a process, and returns its pid once it ignores SIGTERM.
func (b *bereaved) survivor() int {
	b.t.Helper()
	p := exec.Command("sh", "-c", `trap "" TERM; echo; exec sleep 1000`)
	p.Env = append(os.Environ(), proc.NonceVariable+"="+b.nonce)
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ready, err := p.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { end(p) })
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		b.t.Fatal(err)
	}
	return p.Process.Pid
}

// watch opens a peer that watches until the returned function is called, which returns the peer's log.
func (b *bereaved) watch(l *link) (end func() string) {
	b.t.Helper()
	var log kapitest.Output
	o := peer.Options{Logger: newLogger(&log)}
	p := openPeer(b.t, l, o.WithClock(b.sinceBoot, b.awake))
	return func() string {
		if err := p.Close(); err != nil {
			b.t.Error(err)
		}
		return log.String()
	}
}

// wantAsked checks how often a peer has asked each of some processes to end.
func (b *bereaved) wantAsked(who, log string, want map[int]int) {
	b.t.Helper()
	for pid, n := range want {
		if got := strings.Count(log, fmt.Sprintf("pid=%d ", pid)); got != n {
			b.t.Errorf("%s has asked process %d to end %d times, want %d; it logged:\n%s", who, pid, got, n, log)
		}
	}
}

// What a dead runner left behind is asked to end although the peer that wrote the verdict has not asked it.
func TestNeglectedSurvivorsAreAsked(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		b := s.bereaved()
		pid := b.survivor()
		first := &link{Store: s.store}
		first.cut("Answer") // to the verdict
		end := b.watch(first)
		s.at(time.Second)
		b.wantAsked("the first", end(), map[int]int{pid: 0})
		s.wantSeq(2) // the verdict was written
		end = b.watch(&link{Store: s.store})
		s.at(10 * time.Second)
		b.wantAsked("the second", end(), map[int]int{pid: 1})
	})
}

// A peer that has not asked in time leaves it to the keeper, which is the same one here.
func TestSurvivorsAreAskedLate(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		b := s.bereaved()
		pid := b.survivor()
		l := &link{Store: s.store}
		l.ask(func(method string) error {
			if method == "Answer" { // it is stopped meanwhile
				s.suspend(2 * time.Second)
				l.mend()
			}
			return nil
		})
		var log kapitest.Output
		o := peer.Options{Logger: newLogger(&log)}
		openPeer(t, l, o.WithClock(s.sinceBoot, s.awake))
		s.at(time.Second)
		s.wantSeq(2) // the verdict was written
		b.wantAsked("it", log.String(), map[int]int{pid: 0})
		s.at(10 * time.Second)
		b.wantAsked("it", log.String(), map[int]int{pid: 1})
	})
}

// After an outage, a keeper gives the one that has asked time to note it.
func TestNotNeglectedDuringOutage(t *testing.T) {
	play(t, func(_ *testing.T, s *scene) {
		b := s.bereaved()
		pid := b.survivor()
		first, second := &link{Store: s.store}, &link{Store: s.store}
		first.cut("NoteAsked")
		endFirst := b.watch(first)
		s.at(0)
		endSecond := b.watch(second)
		s.at(time.Second) // it has seen that nobody has asked
		second.cut()
		s.at(4 * time.Second)
		second.mend()
		s.at(5 * time.Second)
		first.mend()
		s.at(15 * time.Second)
		b.wantAsked("the second", endSecond(), map[int]int{pid: 0})
		b.wantAsked("the first", endFirst(), map[int]int{pid: 1})
	})
}

// A process is not asked again by a peer that takes over.
func TestSurvivorsAreAskedOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		// outage is for how long the note can't be written.
		outage time.Duration
	}{
		{"noted at once", 0},
		{"noted after an outage", 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, func(_ *testing.T, s *scene) {
				b := s.bereaved()
				pid := b.survivor()
				first := &link{Store: s.store}
				if c.outage > 0 {
					first.cut("NoteAsked")
				}
				end := b.watch(first)
				s.at(c.outage)
				first.mend()
				s.at(c.outage + 2*time.Second)
				b.wantAsked("the first", end(), map[int]int{pid: 1})
				end = b.watch(&link{Store: s.store})
				s.at(c.outage + 10*time.Second)
				another := b.survivor()
				s.at(c.outage + 30*time.Second)
				b.wantAsked("the second", end(), map[int]int{pid: 0, another: 1})
			})
		})
	}
}
