package peer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// errLeft is the cause of the end of a transaction whose callers have all left.
var errLeft = errors.New("nobody waits for the outcome")

// A flight is the transaction that is under way.
type flight struct {
	mu     sync.Mutex
	batch  *batch // nil between two
	ctx    context.Context
	cancel context.CancelCauseFunc
	// read is from when on the last transaction read the feed, and over when it was.
	read, over time.Time
	// heard is closed, and replaced, when a transaction has read the feed.
	heard chan struct{}
}

func newFlight() flight { return flight{heard: make(chan struct{})} }

// board begins a transaction, whose context is cancelled when all callers have left. land ends it.
func (f *flight) board(ctx context.Context, cancel context.CancelCauseFunc, b *batch) (land func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batch, f.ctx, f.cancel = b, ctx, cancel
	f.check()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.batch = nil
		f.over = time.Now()
		cancel(nil)
	}
}

// hasRead notes that the feed is in the view as it was at a moment, or later.
func (f *flight) hasRead(from time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read = from
	close(f.heard)
	f.heard = make(chan struct{})
}

const (
	// leaveToFlight is how long a wake-up is left to the peer's own transactions, which read the feed
	// in any case. Among peers that all commit, and wait for each other, each would otherwise read the
	// changes of all others one by one, and that would take more time than the commits.
	leaveToFlight = 100 * time.Millisecond
	// leaveToNext is how long the next transaction is waited for, when one is over.
	leaveToNext = 10 * time.Millisecond
)

// reads reports whether a transaction has read what is committed now. It waits for that a while if the
// peer is making transactions: one that begins from now on.
func (f *flight) reads(ctx context.Context) bool {
	now := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		f.mu.Lock()
		read, heard, end := f.read.After(now), f.heard, f.over.Add(leaveToNext)
		if f.batch != nil {
			end = now.Add(leaveToFlight)
		}
		f.mu.Unlock()
		left := time.Until(end)
		if read || left <= 0 {
			return read
		}
		timer.Reset(left)
		select {
		case <-heard:
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
}

// join has the batch take in what is waiting, unless its transaction is given up already.
func (f *flight) join(b *batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() == nil {
		b.fill()
	}
}

// leave notes that nobody waits for c any more.
func (f *flight) leave(c *submission) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.left = true
	f.check()
}

func (f *flight) check() {
	if f.batch != nil && !slices.ContainsFunc(f.batch.changes, func(c *submission) bool { return !c.left }) {
		f.cancel(errLeft)
	}
}
