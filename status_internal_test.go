package kapi

import "testing"

// The 36 pairs of kAPI's document: a row per status before the move, a column per status
// after it.
var allowed = [6][6]bool{
	//  0      1      2      3      4      5
	{false, true, false, true, false, false},   // 0 pending
	{false, false, true, true, false, true},    // 1 running
	{false, true, false, true, false, true},    // 2 impacted
	{false, false, false, false, true, false},  // 3 failed
	{false, false, false, false, false, false}, // 4 aborted
	{false, false, false, false, false, false}, // 5 completed
}

func TestMoves(t *testing.T) {
	for from, row := range allowed {
		for to, want := range row {
			if got := Status(from).CanBecome(Status(to)); got != want {
				t.Errorf("%d to %d: allowed is %v, want %v", from, to, got, want)
			}
		}
	}
	for _, s := range []Status{-1, 6} {
		for to := range Status(7) {
			if s.CanBecome(to) || to.CanBecome(s) {
				t.Errorf("a move between %d and %d is allowed", s, to)
			}
		}
	}
}

func TestStatusKinds(t *testing.T) {
	for _, tt := range []struct {
		status                 Status
		name                   string
		valid, active, ongoing bool
	}{
		{-1, "status(-1)", false, false, false},
		{StatusPending, "pending", true, true, true},
		{StatusRunning, "running", true, true, true},
		{StatusImpacted, "impacted", true, true, true},
		{StatusFailed, "failed", true, false, true},
		{StatusAborted, "aborted", true, false, false},
		{StatusCompleted, "completed", true, false, false},
		{6, "status(6)", false, false, false},
	} {
		s := tt.status
		if s.String() != tt.name || s.Valid() != tt.valid || s.Active() != tt.active || s.Ongoing() != tt.ongoing {
			t.Errorf("%d: %q, valid %v, active %v, ongoing %v; want %+v",
				s, s, s.Valid(), s.Active(), s.Ongoing(), tt)
		}
	}
}
