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

// Do starts an action, runs its operation here, reports on it, and returns when the server has
// taken its end. The error is the start's, or the operation's, or says that the end could not be
// recorded. When ctx ends, the operation is asked to stop, and waited for.
//
// A server that can't be reached keeps an operation from being started, but not from going
// on: what is to be said is kept and said again until the server takes it (see
// Options.Reporting). The end is tried for Options.EndTimeout, or until the client is closed.
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

// call runs the operation. A panic is an error like others.
func call(ctx context.Context, h *handle, op kapi.Operation) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return op(ctx, h)
}

// finish reports the end, again and again while the server doesn't take it.
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

// worthRepeating tells what may pass from what the server has decided.
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
