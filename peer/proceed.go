package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/wellformed"
)

// Proceed reads a few atomics and a clock, unless the operation is to pause.
func (h *operationHandle) Proceed(ctx context.Context) error {
	for {
		d := h.defined
		switch {
		case h.over.Load():
			return kapi.ErrUnknown
		case d.lost.Load():
			return kapi.ErrLost
		case d.resumable() && d.signs.late():
			d.tooLate()
			return kapi.ErrLost
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case h.ctx.Err() != nil:
			return h.stopped()
		case !d.pause.asked.Load():
			return nil
		}
		if err := h.park(ctx); err != nil {
			return err
		}
	}
}

// stopped returns why the operation may not even finish what it has in hand. A cancel lets it: whoever passes a context
// that has not ended with the operation's wants that.
func (h *operationHandle) stopped() error {
	cause := context.Cause(h.ctx)
	var cancelled *kapi.CancelledError
	if errors.As(cause, &cancelled) {
		return nil
	}
	return cause
}

// tooLate stops the operation because the lease was not renewed in time.
func (d *defined) tooLate() {
	if !d.lost.Load() && d.late.CompareAndSwap(false, true) {
		d.log.Warn("an operation is stopped: this process could not renew its lease in time, so another may take the action over",
			"action", d.handle.id, "limit", d.signs.limit)
	}
	d.lose()
}

// NoCancel commits a change, even if nothing changes.
func (h *operationHandle) NoCancel(reason string) error {
	if flaw := wellformed.Text(reason); flaw != "" {
		return &kapi.InvalidError{Field: "reason", Reason: flaw}
	}
	if n := utf8.RuneCountInString(reason); n > wellformed.MaxState {
		return &kapi.InvalidError{Field: "reason", Reason: fmt.Sprintf("has %d characters, at most %d are allowed", n, wellformed.MaxState)}
	}
	return h.use(func() error { return h.write(rules.Change{Kind: rules.KindForbid, Reason: reason}) })
}

// A pausing is what an operation knows of pauses.
type pausing struct {
	asked   atomic.Bool   // somebody has asked for a pause
	changed chan struct{} // gets a value when asked has changed; holds one

	mu sync.Mutex
	// resting is closed when the pause is over in which the operation does nothing; nil if there is none.
	resting chan struct{}
}

func (p *pausing) ask(asked bool) {
	if p.asked.Swap(asked) == asked {
		return
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// park waits for the end of the pause. However many goroutines wait, the pause is reported once.
func (h *operationHandle) park(ctx context.Context) error {
	if err := h.enter(); err != nil {
		return err
	}
	defer h.using.Done()
	p := &h.defined.pause
	p.mu.Lock()
	rest := p.resting
	if rest == nil {
		rest = make(chan struct{})
		p.resting = rest
		h.using.Go(func() {
			_ = h.defined.parked(h.ctx) // whoever waits learns the same from the context
			p.mu.Lock()
			p.resting = nil
			p.mu.Unlock()
			close(rest)
		})
	}
	p.mu.Unlock()
	select {
	case <-rest:
		return nil // also if the operation was stopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// parked reports that the operation pauses, waits until it may go on, and reports that. The error is the cause of the
// end of ctx, or that of a refused report. Only one goroutine calls it at a time.
func (d *defined) parked(ctx context.Context) error {
	h := d.handle
	if err := d.persist(ctx, h.park); err != nil {
		return err
	}
	for d.pause.asked.Load() {
		select {
		case <-d.pause.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	again := h.unpark()
	err := d.persist(ctx, func() (*submission, error) { return h.submit(rules.Report{Status: kapi.StatusRunning}, false) })
	if err == nil && again {
		err = h.move(kapi.StatusImpacted)
	}
	return err
}

// persist submits a report and waits for it. It tries again while the store is not available, until ctx ends.
func (d *defined) persist(ctx context.Context, submit func() (*submission, error)) error {
	h := d.handle
	for pauses := storePauses(); ; {
		c, err := submit()
		if err == nil {
			err = h.commits.wait(h.ctx, c)
		}
		if !errors.Is(err, kapi.ErrUnavailable) {
			return err
		}
		h.resend()
		select {
		case <-time.After(pauses.Next()):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// park submits the report that the operation pauses. Until unpark, the state is that of the pause: the handle's is set
// aside.
func (h *handle) park() (*submission, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sealed {
		return nil, kapi.ErrUnknown
	}
	rep := rules.Report{Status: kapi.StatusImpacted, Parked: true}
	h.collect(&rep)
	if said := h.state.Load(); said != nil && h.state.CompareAndSwap(said, nil) {
		h.aside = said
	}
	c := h.change(rep)
	return c, h.commits.send(h.ctx, c)
}

// unpark makes the state what it was before the pause, unless the operation has said something since. It reports whether
// the operation was impacted before.
func (h *handle) unpark() (impacted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.aside != nil {
		h.state.CompareAndSwap(nil, h.aside)
		h.aside = nil
	}
	return h.reason != nil && h.state.Load() == h.reason
}
