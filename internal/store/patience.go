package store

import (
	"context"
	"errors"
	"sync"
	"time"
)

// WithPatience returns a context that ends when d has passed since the call, or since a store last called
// Moved with it. It ends earlier if parent ends or the returned function is called. Peers use it for calls
// that may have to wait while many others write: as long as the others make progress, the time starts over.
// The returned function must be called.
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

// Moved is called by a store when a call with this context waits for its turn and another writer has had
// its turn meanwhile. ctx may be derived from one that WithPatience returned; with any other context, Moved
// does nothing. It may be called concurrently.
func Moved(ctx context.Context) {
	if p, ok := ctx.Value(patienceKey{}).(*patience); ok {
		p.renew()
	}
}

// IsPatient reports whether Moved has an effect with this context.
func IsPatient(ctx context.Context) bool { return ctx.Value(patienceKey{}) != nil }

type patienceKey struct{}

// A patience is the context of WithPatience.
type patience struct {
	context.Context // has the cause of the end
	// done ends together with the embedded context, and Done returns its channel. Because that isn't the
	// embedded context's channel, package context asks Err, below, for the error of derived contexts; Err
	// may return DeadlineExceeded.
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

// AfterFunc lets package context derive a context from this one without starting a goroutine.
func (p *patience) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(p.done, f) }
