package peer

import (
	"context"
	"sync"
	"time"
)

// An adopter decides when this peer is to adopt starts that the feed tells of: its own at once,
// those of others if nobody has done it for a while, so that not all peers do it at once.
type adopter struct {
	ctx   context.Context // ends with the peer
	own   func(id string) bool
	nudge func()       // adopts them
	spawn func(func()) // in the background of the peer

	mu    sync.Mutex
	since map[string]time.Time // when each was first seen
	busy  bool
	again bool // it was time to while it was busy
}

// adoptOthersAfter is how long the starts of others are left to them.
const adoptOthersAfter = time.Second / 2

// look is told which starts are not adopted yet, and says whether it is time to.
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

// done says that they were adopted, all that were there when it began; and whether there may be
// more by now.
func (a *adopter) done() (again bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	again, a.again = a.again, false
	a.busy = again
	return again
}

// found adopts, in the background, starts that the feed tells of when it is time to.
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
