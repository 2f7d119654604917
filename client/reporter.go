package client

import (
	"context"
	"errors"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
)

// What goes between a Handle and the server, as long as the operation goes on.

const (
	// flushEvery bounds how often an action is reported on.
	flushEvery = 100 * time.Millisecond
	// longestPause is between two tries to report: short, as the lease is running out.
	longestPause = 2 * time.Second
	// sayLostAfter is how long reports may fail before anybody is told.
	sayLostAfter = time.Second
	// listenAfter is how long an operation goes on before it gets a connection of its own:
	// most are over by then.
	listenAfter = time.Second
)

// report tells the server what is new, and renews the lease, until ctx ends.
func (h *handle) report(ctx context.Context) {
	renew := time.NewTimer(h.renewEvery())
	defer renew.Stop()
	for {
		select {
		case <-h.wake:
		case <-renew.C:
		case <-ctx.Done():
			return
		}
		pause, next := flushEvery, h.renewEvery()
		s, reset := h.collect()
		_, err := h.attempt(ctx, s, reset)
		switch err = h.heed(err); {
		case ctx.Err() != nil:
			return
		case err == nil:
			h.link.up()
		default:
			pause, next = h.link.down(err), 0
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		renew.Reset(next)
	}
}

// renewEvery leaves time for two more reports before the lease runs out.
func (h *handle) renewEvery() time.Duration {
	return max(time.Duration(h.started.LeaseMS)*time.Millisecond/3, flushEvery)
}

// attempt sends one report.
func (h *handle) attempt(ctx context.Context, s saying, reset bool) (kapi.Action, error) {
	ctx, cancel := context.WithTimeout(ctx, min(askTimeout, h.renewEvery()))
	defer cancel()
	r := kapi.Report{Fence: h.started.Fence, ResetProgress: reset, Progress: s.progress, State: s.state}
	if s.status != 0 {
		r.Status = &s.status
	}
	if s.status == kapi.StatusFailed || s.status == kapi.StatusCompleted {
		r.ExitCode = s.exitCode
	}
	a, asked, err := h.client.Report(ctx, h.ID(), r)
	if asked {
		h.cancel(&kapi.CancelledError{By: a.CancelledBy})
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = unavailable("server %s: it does not answer", h.client.base)
	}
	h.sent(s, err)
	return a, err
}

// heed does what follows from an answer. What it returns is a reason to try again.
func (h *handle) heed(err error) error {
	var move *kapi.MoveError
	switch {
	case errors.Is(err, kapi.ErrUnknown), errors.Is(err, kapi.ErrStaleFence), errors.As(err, &move):
		h.cancel(kapi.ErrLost)
		return nil
	case errors.Is(err, kapi.ErrGivenUp):
		h.cancel(kapi.ErrGivenUp)
		return nil
	}
	return err
}

// listen has the operation reported on at once when the gateway tells of something that it
// should hear of. It is there for speed: what it misses is told with the next report.
func (h *handle) listen(ctx context.Context) {
	select {
	case <-time.After(listenAfter):
	case <-ctx.Done():
		return
	}
	for {
		w, err := h.client.watch(ctx, func(*Watch) error {
			h.kick() // it may have been asked to stop already
			return nil
		})
		if err == nil {
			err = h.listenTo(ctx, w)
			w.Close()
		}
		switch {
		case ctx.Err() != nil:
			return
		case !errors.Is(err, kapi.ErrUnavailable) && !errors.Is(err, kapi.ErrGap):
			return
		}
		select {
		case <-time.After(lastPause):
		case <-ctx.Done():
			return
		}
	}
}

func (h *handle) listenTo(ctx context.Context, w *Watch) error {
	for {
		a, err := w.Next(ctx)
		if err != nil {
			return err
		}
		if a.ID == h.ID() && h.matters(a) {
			h.kick()
		}
	}
}

// A link is whether reports are taken.
type link struct {
	notify func(error)
	since  time.Time // zero while they are
	pauses backoff.Backoff
	said   bool
}

func (l *link) up() {
	if l.said {
		l.notify(nil)
	}
	*l = link{notify: l.notify}
}

// down returns how long to wait before the next try.
func (l *link) down(err error) time.Duration {
	if l.since.IsZero() {
		l.since, l.pauses = time.Now(), backoff.New(flushEvery, longestPause)
	}
	if !l.said && time.Since(l.since) >= sayLostAfter {
		l.said = true
		l.notify(err)
	}
	return l.pauses.Next()
}
