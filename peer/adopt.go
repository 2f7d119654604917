package peer

import (
	"context"
	"sync"
	"time"
)

// An adopter decides when this peer adopts the recorded starts in the feed: its own at once, those of
// other peers after a delay, so that not all peers adopt the same start.
type adopter struct {
	ctx   context.Context // ends with the peer
	own   func(id string) bool
	nudge func()       // adopts all recorded starts
	spawn func(func()) // in the background of the peer

	mu    sync.Mutex
	since map[string]time.Time // when each was first seen
	busy  bool
	again bool // a start became due while it was busy
}

// adoptOthersAfter is how long the starts of other peers are left to those peers.
const adoptOthersAfter = time.Second / 2

// look takes the ids of the starts that are not adopted yet, and reports whether to adopt them now.
func (a *adopter) look(ids []string, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(ids) == 0 {
		a.since = nil
		return false
	}
	since := make(map[string]time.Time, len(ids))
	due := false
	for _, id := range ids {
		first, ok := a.since[id]
		if !ok {
			first = now
		}
		since[id] = first
		due = due || now.Sub(first) >= adoptOthersAfter || a.own(id)
	}
	a.since = since
	if a.busy {
		a.again = a.again || due
		return false
	}
	a.busy = due
	return due
}

// done ends an adoption. It reports whether another one is due, because of starts that look was told
// of meanwhile.
func (a *adopter) done() (again bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	again, a.again = a.again, false
	a.busy = again
	return again
}

// found takes the ids of the recorded starts in the feed, and adopts them in the background if they
// are due.
func (a *adopter) found(ids []string) {
	if !a.look(ids, time.Now()) {
		return
	}
	a.spawn(func() {
		for again := true; again && a.ctx.Err() == nil; again = a.done() {
			a.nudge()
		}
	})
}
