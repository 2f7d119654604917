package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/wire"
)

// lookEvery is how often a waiting action asks whether it is its turn, if the gateway doesn't tell it.
const lookEvery = time.Second

// await waits until a queued action has its keys and is running. If it gives up, it leaves the queue and
// returns the reason. The answers to its reports say whether it has its keys; the gateway only makes
// it ask sooner.
func (h *handle) await(ctx context.Context, spec kapi.Spec) error {
	var over <-chan time.Time
	if spec.Wait > 0 {
		timer := time.NewTimer(spec.Wait)
		defer timer.Stop()
		over = timer.C
	}
	for {
		pause := min(h.renewEvery(), lookEvery)
		began, err := h.begin(ctx)
		switch {
		case began:
			h.link.up()
			return nil
		case errors.Is(err, kapi.ErrUnavailable) && ctx.Err() == nil:
			pause = h.link.down(err)
		case err != nil && ctx.Err() == nil:
			return h.leaveQueue(err)
		case err == nil:
			h.link.up()
		}
		look := time.NewTimer(pause)
		select {
		case <-look.C:
		case <-h.wake:
		case <-over:
			look.Stop()
			switch began, err := h.begin(ctx); {
			case began: // just in time
				return nil
			case err != nil && !errors.Is(err, kapi.ErrUnavailable):
				return h.leaveQueue(err)
			}
			return h.leaveQueue(h.refusal(spec))
		case <-ctx.Done():
			look.Stop()
			return h.leaveQueue(context.Cause(ctx))
		}
		look.Stop()
	}
}

// begin sends a sign of life and, if the answer says that the action has its keys, reports that it begins.
func (h *handle) begin(ctx context.Context) (began bool, err error) {
	report := func(r kapi.Report) (wire.Reported, error) {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		answer, err := h.client.report(ctx, h.ID(), r)
		if errors.Is(err, context.DeadlineExceeded) {
			err = unavailable("server %s: it does not answer", h.client.base)
		}
		return answer, err
	}
	answer, err := report(kapi.Report{Fence: h.queueFence()})
	switch {
	case errors.Is(err, kapi.ErrStaleFence) && h.granted != 0:
		h.granted = 0 // the keys were taken back, and perhaps given again with a new fence
		return false, nil
	case errors.Is(err, kapi.ErrUnknown):
		return false, kapi.ErrLost
	case err != nil:
		return false, err
	case answer.Cancel:
		return false, &kapi.CancelledError{By: answer.CancelledBy}
	case answer.Status == kapi.StatusRunning: // the answer to an earlier move was lost
		h.started.Fence = h.queueFence()
		return true, nil
	case len(answer.Keys) == 0:
		h.waitsFor = answer.WaitsFor
		return false, nil
	}
	h.granted = answer.Fence
	running := kapi.StatusRunning
	_, err = report(kapi.Report{Fence: h.granted, Status: &running})
	switch {
	case errors.Is(err, kapi.ErrWaiting), errors.Is(err, kapi.ErrStaleFence):
		return false, nil // the keys were taken back
	case err != nil:
		return false, err
	}
	h.started.Fence = h.granted
	return true, nil
}

// queueFence returns the fence for reports of a waiting action: the one that came with its keys, or
// before that the one of its start.
func (h *handle) queueFence() uint64 {
	if h.granted != 0 {
		return h.granted
	}
	return h.started.Fence
}

// leaveQueue withdraws the action from the queue, and returns the reason.
func (h *handle) leaveQueue(reason error) error {
	if errors.Is(reason, kapi.ErrLost) {
		return reason
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	status, state := kapi.StatusFailed, "gave up waiting: "+reason.Error()
	answer, err := h.client.report(ctx, h.ID(), kapi.Report{Fence: h.queueFence(), Status: &status, State: &state})
	if errors.Is(err, kapi.ErrStaleFence) && h.granted != 0 {
		answer, err = h.client.report(ctx, h.ID(), kapi.Report{Fence: h.started.Fence, Status: &status, State: &state})
	}
	if err == nil && answer.Status == kapi.StatusFailed { // it had begun: the answer to that was lost
		if _, err = h.client.Dismiss(ctx, h.ID(), ""); errors.Is(err, auth.ErrForbidden) {
			return errors.Join(reason, leftFailed(h.ID(), err))
		}
	}
	if err != nil && !errors.Is(err, kapi.ErrUnknown) { // the server will withdraw it for its silence
		return errors.Join(reason, fmt.Errorf("take action %s from the queue: %w", h.ID(), err))
	}
	return reason
}

// refusal returns the error that a start without Wait would have got, by what the action waits for. If the
// token may not see the other action, only its id and title are known, and it is taken for the holder.
func (h *handle) refusal(spec kapi.Spec) error {
	w := h.waitsFor
	if w == nil || w.Action == "" {
		return fmt.Errorf("its turn did not come within %v", spec.Wait)
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	ongoing, err := h.client.List(ctx)
	if err != nil {
		return err
	}
	held := &kapi.HeldError{Key: w.Key, Holder: kapi.Action{ID: w.Action, Title: w.Title, Keys: []string{w.Key}}, Waited: spec.Wait}
	for _, a := range ongoing {
		if a.ID == w.Action {
			held.Holder = a
		}
	}
	return held
}
