package peer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A monitor is a store that tells how its only runner is without reading the record through the link.
type monitor struct {
	*link
	released atomic.Bool // the runner's lock is free
}

func (m *monitor) Alive(runners []store.Monitored) {
	for i := range runners {
		all, err := m.Store.Runners(context.Background(), []string{runners[i].ID})
		if runners[i].Held = err == nil && !m.released.Load(); runners[i].Held {
			runners[i].Beat = all[0].Beat
		}
	}
}

// monitored opens a watcher of an action whose runner can be judged only by its lock and its renewals.
func (s *scene) monitored() (*monitor, store.RunnerRecord, store.Record) {
	runner := stranger()
	runner.BootID, runner.PIDNamespace = proc.Self().BootID, "pid:[1] time:[1]"
	left := s.leave(runner)
	m := &monitor{link: s.link}
	m.alter = func(r *store.RunnerRecord) {
		if r.Lock = store.LockHeld; m.released.Load() {
			r.Lock = store.LockFree
		}
	}
	s.k = s.openPeer(m, peer.Options{})
	return m, runner, left
}

// wantStatus checks the status of an action.
func (s *scene) wantStatus(id string, want kapi.Status) {
	s.t.Helper()
	if a, err := s.k.Get(s.t.Context(), id); err != nil || a.Status != want {
		s.t.Errorf("after %v: it is %v, %v; want %v", s.now(), a.Status, err, want)
	}
}

// The record of a runner that is alive and renews its lease is read only now and then. Its death is noticed as soon as
// if it were read each second.
func TestSteadyRunner(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		m, runner, left := s.monitored()
		for i := range time.Duration(14) {
			s.at(i * 5 * time.Second)
			s.hear(runner)
			if i == 1 {
				m.count("Runners")
			}
		}
		if n := m.count("Runners"); n < 5 || n > 13 {
			t.Errorf("its record was read %d times in a minute", n)
		}
		s.wantStatus(left.ID, kapi.StatusRunning)
		m.released.Store(true)
		s.at(67 * time.Second)
		s.wantStatus(left.ID, kapi.StatusFailed)
	})
}

// A runner that holds its lock and no longer renews its lease is silent after a lease, not later.
func TestSteadyRunnerFallsSilent(t *testing.T) {
	play(t, func(t *testing.T, s *scene) {
		_, runner, left := s.monitored()
		for i := range time.Duration(32) { // so that the last renewal is between two readings of the record
			s.at(i * time.Second)
			s.hear(runner)
		}
		s.at(31*time.Second + sceneLease - time.Second)
		s.wantStatus(left.ID, kapi.StatusRunning)
		s.at(31*time.Second + sceneLease + 2*time.Second)
		s.wantStatus(left.ID, kapi.StatusImpacted)
	})
}
