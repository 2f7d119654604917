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
	batch  *batch // nil between two
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// board begins a transaction; the context that it returns ends when all callers have left.
func (f *flight) board(ctx context.Context, b *batch) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batch, f.ctx, f.cancel = b, ctx, cancel
	f.check()
	return ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.batch = nil
		cancel(nil)
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
func (f *flight) leave(c *change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.left = true
	f.check()
}

func (f *flight) check() {
	if f.batch != nil && !slices.ContainsFunc(f.batch.changes, func(c *change) bool { return !c.left }) {
		f.cancel(errLeft)
	}
}
