package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/fault"
)

// Do starts an action, runs its operation in this process, reports on it, and returns when the server
// has recorded its end. The error is the start's, or the operation's, or says that the end could not be
// recorded. When ctx ends, Do asks the operation to stop and waits for it.
//
// If the server can't be reached, no operation is started, but a running one continues: its reports
// are repeated until the server accepts them (see Options.Reporting). The report of its end is repeated
// for Options.EndTimeout, or until the client is closed.
func (c *Client) Do(ctx context.Context, spec kapi.Spec, op kapi.Operation) error {
	r, err := c.startOnce(ctx, spec)
	if err != nil {
		return err
	}
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	h := newHandle(c, r, cancel)
	stop := context.AfterFunc(ctx, func() { cancel(fmt.Errorf("stopped by its caller: %w", context.Cause(ctx))) })
	defer stop()

	reporting, end := context.WithCancel(c.closing)
	var helpers sync.WaitGroup
	faults := fault.From(ctx)
	faults.Go(&helpers, func() { h.listen(reporting) })
	if spec.Wait != 0 && r.Action.Status == kapi.StatusPending {
		if err := h.await(running, spec); err != nil {
			end()
			helpers.Wait()
			return err
		}
	}
	helpers.Go(func() {
		defer h.close()
		faults.Keep(func() { h.report(reporting) })
	})
	err = call(running, h, op)
	end()
	helpers.Wait()
	return errors.Join(err, h.finish(running, err))
}

// call runs the operation, and turns a panic into an error.
func call(ctx context.Context, h *handle, op kapi.Operation) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return op(ctx, h)
}

// finish reports the end, repeatedly until the server accepts it.
func (h *handle) finish(ctx context.Context, err error) error {
	final, reset := h.collect()
	final.status = kapi.StatusCompleted
	if err != nil {
		state := kapi.FailureState(ctx, err)
		final.status, final.state = kapi.StatusFailed, &state
	}
	var deadline <-chan time.Time
	if h.client.endTimeout > 0 {
		timer := time.NewTimer(h.client.endTimeout)
		defer timer.Stop()
		deadline = timer.C
	}
	for {
		a, err := h.attempt(h.client.closing, final, reset)
		switch {
		case err == nil && final.status == kapi.StatusCompleted && a.Status == kapi.StatusFailed:
			return fmt.Errorf("action %s had failed: %w", h.ID(), kapi.ErrGivenUp)
		case err == nil:
			h.link.up()
			return nil
		}
		if worthRepeating(err) {
			select {
			case <-time.After(h.link.down(err)):
				continue
			case <-deadline:
			case <-h.client.closing.Done():
			}
		}
		return fmt.Errorf("record the end of action %s: %w", h.ID(), err)
	}
}

// worthRepeating reports whether err may be temporary: it is not a decision of the server.
func worthRepeating(err error) bool {
	for _, decided := range []error{
		kapi.ErrUnknown, kapi.ErrStaleFence, kapi.ErrGivenUp,
		auth.ErrNoToken, auth.ErrInvalidToken, auth.ErrExpiredToken, auth.ErrForbidden,
	} {
		if errors.Is(err, decided) {
			return false
		}
	}
	var move *kapi.MoveError
	var invalid *kapi.InvalidError
	return !errors.As(err, &move) && !errors.As(err, &invalid)
}
