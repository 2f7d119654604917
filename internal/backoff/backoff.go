// Package backoff has the pause between two tries at what others hold up, or what can't be reached. It
// doubles, from a first to a last one, so that what is over soon is noticed soon, and what takes long
// isn't asked for all the time.
package backoff

import "time"

// A Backoff says how long the next pause is. It belongs to one goroutine. The zero value never waits.
type Backoff struct {
	First, Last time.Duration

	next time.Duration
}

// New returns a Backoff whose pauses go from first to last.
func New(first, last time.Duration) Backoff { return Backoff{First: first, Last: last} }

// Next returns how long to wait now.
func (b *Backoff) Next() time.Duration {
	pause := max(b.next, b.First)
	b.next = min(2*pause, b.Last)
	return pause
}

// Reset begins with First again: what was tried has succeeded meanwhile.
func (b *Backoff) Reset() { b.next = 0 }
