package kapi

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// errLeft is the cause of the end of a transaction whose callers have all left.
var errLeft = errors.New("nobody waits for the outcome")

// A flight is the transaction that is under way.
type flight struct {
	mu     sync.Mutex
	batch  []*change
	cancel context.CancelCauseFunc
}

// board begins a transaction; the context that it returns ends when all callers have left.
func (f *flight) board(ctx context.Context, batch []*change) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batch, f.cancel = batch, cancel
	f.check()
	return ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.batch = nil
		cancel(nil)
	}
}

// leave notes that nobody waits for c any more.
func (f *flight) leave(c *change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.left = true
	f.check()
}

func (f *flight) check() {
	if len(f.batch) > 0 && !slices.ContainsFunc(f.batch, func(c *change) bool { return !c.left }) {
		f.cancel(errLeft)
	}
}
