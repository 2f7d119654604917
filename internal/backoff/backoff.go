// Package backoff has the pauses between attempts at something that is blocked or can't be reached. They
// double from a first to a last one, so that a short obstacle costs little time, and a long one few
// attempts.
package backoff

import "time"

// A Backoff says how long the next pause is. It must not be used concurrently. The zero value never pauses.
type Backoff struct {
	First, Last time.Duration

	next time.Duration
}

// New returns a Backoff whose pauses double from first to last.
func New(first, last time.Duration) Backoff { return Backoff{First: first, Last: last} }

// Next returns how long to pause now.
func (b *Backoff) Next() time.Duration {
	pause := max(b.next, b.First)
	b.next = min(2*pause, b.Last)
	return pause
}

// Reset makes the next pause First again. It is called after an attempt succeeded.
func (b *Backoff) Reset() { b.next = 0 }
