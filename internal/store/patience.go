package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// WithPatience returns a context that ends once d has passed since the call, or since a store last
// called Moved with it, and earlier if parent does or cancel is called. A peer bounds by it a call that
// may have to wait while many others write: their getting on is none of the time.
func WithPatience(parent context.Context, d time.Duration) (context.Context, context.CancelCauseFunc) {
	inner, cancel := context.WithCancelCause(parent)
	done, stop := context.WithCancel(inner)
	p := &patience{Context: inner, done: done, length: d, end: time.Now().Add(d)}
	p.timer = time.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return p, func(cause error) {
		p.timer.Stop()
		cancel(cause)
		stop()
	}
}

// Moved says that a call with this context, or one that was made of it, waits for its turn, and that
// somebody else has had theirs meanwhile. It may be called with any context, and concurrently.
func Moved(ctx context.Context) {
	if p, ok := ctx.Value(patienceKey{}).(*patience); ok {
		p.renew()
	}
}

type patienceKey struct{}

// A patience is the context of WithPatience.
type patience struct {
	context.Context // says why it has ended
	// done ends with it. As it is another one than that in which contexts made of this one look for
	// the cause, they ask this one for Err.
	done   context.Context
	length time.Duration
	timer  *time.Timer

	mu  sync.Mutex
	end time.Time
}

func (p *patience) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Context.Err() == nil && p.timer.Stop() {
		p.end = time.Now().Add(p.length)
		p.timer.Reset(p.length)
	}
}

func (p *patience) Deadline() (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before, ok := p.Context.Deadline(); ok && before.Before(p.end) {
		return before, true
	}
	return p.end, true
}

func (p *patience) Done() <-chan struct{} { return p.done.Done() }

func (p *patience) Err() error {
	err := p.done.Err()
	if err != nil && errors.Is(context.Cause(p.Context), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}

func (p *patience) Value(key any) any {
	if key == (patienceKey{}) {
		return p
	}
	return p.Context.Value(key)
}

// AfterFunc is what package context asks for, so that a context made of this one needs no goroutine.
func (p *patience) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(p.done, f) }
