package client

import (
	"context"
	"errors"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
)

// How a Handle reports to the server while its operation runs.

const (
	// flushEvery is the shortest time between two reports on an action.
	flushEvery = 100 * time.Millisecond
	// longestPause is the longest pause before a report is repeated. It is short because the lease is
	// running out.
	longestPause = 2 * time.Second
	// sayLostAfter is how long reports may fail before Options.Reporting is called.
	sayLostAfter = time.Second
	// listenAfter is how long an operation runs before it gets its own gateway connection. Most have
	// ended by then.
	listenAfter = time.Second
)

// report reports what is new, and renews the lease, until ctx ends.
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

// renewEvery returns a third of the lease, which leaves time for two more reports before it runs out.
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

// heed cancels the operation if an error says that its action is lost or given up. It returns only errors
// that are a reason to try again.
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

// listen watches the gateway, and triggers a report when the operation should learn of an update. It only
// makes that faster: the answer to the next report has whatever it misses.
func (h *handle) listen(ctx context.Context) {
	select {
	case <-time.After(listenAfter):
	case <-ctx.Done():
		return
	}
	for {
		w, err := h.client.watch(ctx, func(*Watch) error {
			h.kick() // the action may have been asked to stop before the watch began
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

// A link notes whether the server accepts reports.
type link struct {
	notify func(error)
	since  time.Time // when reports began to fail; zero while they are accepted
	pauses backoff.Backoff
	said   bool
}

func (l *link) up() {
	if l.said {
		l.notify(nil)
	}
	*l = link{notify: l.notify}
}

// down notes a failed report, and returns how long to wait before the next try.
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
