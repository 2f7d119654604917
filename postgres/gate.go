package postgres

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kettubot/kapi/internal/backoff"
)

const (
	// A server that can't be connected to is tried again after such pauses.
	firstPause = 50 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// A gate keeps the connections of a store from asking a server that is down all at once, and again
// and again: it has better things to do while it recovers. After an attempt that failed the next
// one may begin only after a pause; who comes before is told what was wrong then.
type gate struct {
	mu     sync.Mutex
	err    error // of the last attempt, nil if that succeeded
	pauses backoff.Backoff
	pause  time.Duration // the one that goes on
	next   time.Time     // when the next attempt may begin
}

// pass lets an attempt begin, or returns why it would fail.
func (g *gate) pass() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		return nil
	}
	if time.Now().Before(g.next) {
		return g.err
	}
	g.rest()
	return nil
}

// note says how an attempt ended.
func (g *gate) note(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil || !passes(err) { // what doesn't pass by itself is nobody else's affair
		g.err = nil
		return
	}
	if g.err == nil {
		g.pauses = backoff.New(firstPause, lastPause)
	}
	g.pause = g.pauses.Next()
	g.err = err
	g.rest()
}

// rest begins a pause. Its length is not the same for all who lost the server in one moment.
func (g *gate) rest() { g.next = time.Now().Add(g.pause/2 + rand.N(g.pause)) }
