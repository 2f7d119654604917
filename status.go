package kapi

import "fmt"

// Status says where an action stands. The numbers are kAPI's ("Action Statuses" in its
// document) and are sent as they are. An action's state is something else: free text.
type Status int

const (
	// StatusPending is an action that is yet to start.
	StatusPending Status = 0
	// StatusRunning is an action whose work is being done.
	StatusRunning Status = 1
	// StatusImpacted is an action that has issues, but is still running.
	StatusImpacted Status = 2
	// StatusFailed is an action whose work ended early, or is assumed to have. It stays
	// listed and keeps its keys until an admin dismisses it.
	StatusFailed Status = 3
	// StatusAborted is an action that had failed and was dismissed; it is disposed.
	StatusAborted Status = 4
	// StatusCompleted is an action whose work is done; it is disposed.
	StatusCompleted Status = 5
)

var statusNames = [...]string{"pending", "running", "impacted", "failed", "aborted", "completed"}

// moves is the one table of allowed moves: moves[from] lists the statuses that may follow.
var moves = [...][]Status{
	StatusPending:   {StatusRunning, StatusFailed},
	StatusRunning:   {StatusImpacted, StatusFailed, StatusCompleted},
	StatusImpacted:  {StatusRunning, StatusFailed, StatusCompleted},
	StatusFailed:    {StatusAborted},
	StatusAborted:   {},
	StatusCompleted: {},
}

// String returns kAPI's word for s, or "status(N)" if s is not valid.
func (s Status) String() string {
	if !s.Valid() {
		return fmt.Sprintf("status(%d)", int(s))
	}
	return statusNames[s]
}

// Valid reports whether s is one of the six statuses.
func (s Status) Valid() bool { return s >= StatusPending && s <= StatusCompleted }

// Active reports whether s is 0, 1 or 2: the work has not ended.
func (s Status) Active() bool { return s >= StatusPending && s <= StatusImpacted }

// Ongoing reports whether the action is listed: not disposed (0 to 3).
func (s Status) Ongoing() bool { return s >= StatusPending && s <= StatusFailed }

// CanBecome reports whether an action may move from s to next. No status can become itself.
func (s Status) CanBecome(next Status) bool {
	if !s.Valid() {
		return false
	}
	for _, to := range moves[s] {
		if to == next {
			return true
		}
	}
	return false
}
