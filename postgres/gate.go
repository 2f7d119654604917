package postgres

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kettubot/kapi/internal/backoff"
)

const (
	// The first and the longest pause between attempts to connect to a server that can't be reached.
	firstPause = 50 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// A gate limits how often a store tries to connect to a server that is down, over all its connections,
// so as not to slow its recovery. After a failed attempt, the next one may begin only after a pause. Until
// then pass returns the error of the last attempt.
type gate struct {
	mu     sync.Mutex
	err    error // of the last attempt, nil if that succeeded
	pauses backoff.Backoff
	pause  time.Duration // the current one
	next   time.Time     // when the next attempt may begin
}

// pass returns nil if an attempt may begin, or else the error of the last attempt.
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

// note records how an attempt ended.
func (g *gate) note(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil || !passes(err) { // an error that doesn't go away on its own may concern only this connection
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

// rest begins a pause. Its length is random, so that stores that lost the server at the same moment
// don't come back at the same moment.
func (g *gate) rest() { g.next = time.Now().Add(g.pause/2 + rand.N(g.pause)) }
