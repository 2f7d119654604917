package peer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// runDefined runs a defined operation, tries again after errors, and reports the end.
func (r *run) runDefined() error {
	err := r.readSaved()
	if err == nil {
		err = r.try()
	}
	if err != nil && r.handsOver() {
		if done, refused := r.handOver(); done {
			return errors.Join(err, refused)
		}
	}
	return errors.Join(err, r.finish(r.outcome(err)))
}

// readSaved reads what is saved for the action, if anything may be. It tries again while the store is not available.
func (r *run) readSaved() error {
	d := r.defined
	if !d.claimed {
		return nil
	}
	for pauses := storePauses(); ; {
		saved, err := r.readOnce()
		if err == nil {
			d.keep(saved)
			return nil
		}
		if r.ctx.Err() == nil {
			r.peer.log.Warn("what is saved for an action can't be read yet", "action", d.handle.id, "error", err)
		}
		select {
		case <-time.After(pauses.Next()):
		case <-r.ctx.Done():
			return fmt.Errorf("read what is saved: %w", context.Cause(r.ctx))
		}
	}
}

func (r *run) readOnce() ([]store.Saved, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.peer.opts.readTimeout)
	defer cancel()
	return r.peer.store.Saved(ctx, r.handle.id)
}

// keep takes what is saved for the action.
func (d *defined) keep(saved []store.Saved) {
	d.saved.put(slices.DeleteFunc(saved, func(s store.Saved) bool { return s.Name == store.ArgumentsName }), d.handle.epoch())
}

// try calls the operation until it succeeds, or must not be called again.
func (r *run) try() error {
	failed := 0 // attempts since the last new checkpoint
	for {
		err := r.call(r.attempt)
		if r.defined.saved.fresh.Swap(false) {
			failed = 0
		}
		failed++
		if err == nil || !r.retries(err, failed) || !r.backOff(err, failed) {
			return err
		}
	}
}

// attempt calls the operation once.
func (r *run) attempt() error {
	ctx, cancel := context.WithCancelCause(r.ctx)
	h := &operationHandle{handle: r.handle, ctx: ctx}
	defer h.end()
	defer cancel(nil)
	return r.defined.definition.Run(ctx, h, r.defined.arguments)
}

// retries reports whether the operation is called again after an error.
func (r *run) retries(err error, failed int) bool {
	var panicked *panicError
	return failed < r.defined.definition.Retry.Attempts && r.ctx.Err() == nil &&
		!errors.Is(err, kapi.ErrPermanent) && !errors.As(err, &panicked) && !errors.Is(err, errExited)
}

// Retry's defaults.
const (
	firstRetry = time.Second
	mostRetry  = time.Minute
)

// retryPause returns how long to wait after so many failed attempts. The pauses double from first to most, and a
// random part lets runners that have failed together come back at different times.
func retryPause(retry kapi.Retry, failed int, random float64) time.Duration {
	first, most := retry.First, retry.Most
	if first == 0 {
		first = firstRetry
	}
	if most == 0 {
		most = max(mostRetry, first)
	}
	most = max(first, most)
	pause := first
	for range failed - 1 {
		if pause >= most/2 {
			pause = max(first, most/4*3)
			break
		}
		pause *= 2
	}
	return pause + time.Duration(random*float64(min(pause/2, most-pause)))
}

// backOff waits after a failed attempt, and reports the next one. It is false if there must not be one. A pause of the
// operation stops the time.
func (r *run) backOff(err error, failed int) bool {
	retry := r.defined.definition.Retry
	left := retryPause(retry, failed, rand.Float64())
	for {
		until := time.Now().Add(left)
		wait := time.NewTimer(left)
		defer wait.Stop()
		reason := fmt.Sprintf("attempt %d of %d failed: %v; goes on at %s", failed, retry.Attempts, err, until.UTC().Format(time.RFC3339))
		if err := r.handle.Impacted(reason); err != nil && !errors.Is(err, kapi.ErrUnavailable) {
			return false
		}
		over, paused := r.waits(wait.C)
		if over {
			return r.again()
		}
		if !paused {
			return false
		}
		left = max(time.Until(until), 0)
		if r.defined.parked(r.ctx) != nil {
			return false
		}
	}
}

// waits waits for the end of a pause between attempts. paused is true if the operation is asked to pause before that.
func (r *run) waits(over <-chan time.Time) (ended, paused bool) {
	for {
		if r.defined.pause.asked.Load() {
			return false, true
		}
		select {
		case <-over:
			return true, false
		case <-r.defined.pause.changed:
		case <-r.ctx.Done():
			return false, false
		}
	}
}

// again reports that the operation begins once more. It tries again while the store is not available.
func (r *run) again() bool {
	h := r.handle
	h.calm()
	var c *submission
	next := int(r.defined.attempt.Load()) + 1
	err := r.defined.persist(r.ctx, func() (_ *submission, err error) {
		c, err = h.submit(rules.Report{Status: kapi.StatusRunning, Again: next}, false)
		return c, err
	})
	if err == nil {
		r.defined.attempt.Store(int64(max(c.Record.Attempt, 1)))
	}
	return err == nil
}
