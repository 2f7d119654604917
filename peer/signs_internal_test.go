package peer

import (
	"testing"
	"time"
)

// The clock that counts the time asleep decides whenever the other two disagree.
func TestLate(t *testing.T) {
	const limit = time.Minute
	for _, tt := range []struct {
		name             string
		boot, awake, set time.Duration // how long ago the last sign was, by each clock
		late             bool
	}{
		{"fresh", time.Second, time.Second, time.Second, false},
		{"old", limit, limit, limit, true},
		{"asleep", time.Hour, time.Second, time.Hour, true},
		{"asleep for a moment", 30 * time.Second, 10 * time.Second, 30 * time.Second, false},
		{"the wall clock was set", time.Second, time.Second, time.Hour, false},
		{"the wall clock was set back", limit, limit, -time.Hour, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			boot := 24 * time.Hour
			s := signs{sinceBoot: func() time.Duration { return boot }, limit: limit}
			now := time.Now()
			s.last.Store(&sign{boot: boot - tt.boot, awake: now.Add(-tt.awake), wall: now.Add(-tt.set).UnixNano()})
			if s.late() != tt.late {
				t.Errorf("late: %v", !tt.late)
			}
		})
	}
	if never := new(signs); !never.late() {
		t.Error("without any sign of life it is in time")
	}
}

// Of two renewals, the one that was sent later counts, whichever is answered first.
func TestSignsGrow(t *testing.T) {
	var boot time.Duration
	var s signs
	s.init(15*time.Second, 2*time.Minute, func() time.Duration { return boot }, func() {})
	defer s.timer.Stop()
	first := s.now()
	boot = time.Second
	second := s.now()
	s.note(second)
	s.note(first)
	if s.last.Load() != second {
		t.Error("the older sign counts")
	}
}
