package peer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// errLeft is the cause when a transaction is cancelled because all its callers have left.
var errLeft = errors.New("nobody waits for the outcome")

// A flight is the committer's current transaction, if any.
type flight struct {
	mu     sync.Mutex
	batch  *batch // nil between transactions
	ctx    context.Context
	cancel context.CancelCauseFunc
	// read is when a transaction last began to read the feed; over is when the last transaction ended.
	read, over time.Time
	// heard is closed and replaced when a transaction has read the feed.
	heard chan struct{}
}

func newFlight() flight { return flight{heard: make(chan struct{})} }

// board begins a transaction, and cancels its context when all callers have left. land ends it.
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

// hasRead notes that the view has the feed as of that moment or later.
func (f *flight) hasRead(from time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read = from
	close(f.heard)
	f.heard = make(chan struct{})
}

const (
	// leaveToFlight is how long a wake-up is left to the peer's own current transaction, which reads the
	// feed anyway. Otherwise, when several peers commit, each would read the others' changes one by one,
	// which takes more time than the commits.
	leaveToFlight = 100 * time.Millisecond
	// leaveToNext is how long a wake-up is left to the next transaction after one has ended.
	leaveToNext = 10 * time.Millisecond
)

// reads reports whether a transaction begins to read the feed after reads was called. It waits a while for
// one if a transaction is under way or has just ended, and otherwise returns false.
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

// join adds the waiting changes to the batch, unless its transaction is abandoned already.
func (f *flight) join(b *batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() == nil {
		b.fill()
	}
}

// leave notes that the caller no longer waits for c.
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
