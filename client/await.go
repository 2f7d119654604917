package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kettubot/kapi"
)

// await waits until a queued action has its keys and is running; otherwise it is given up, for
// the reason that is returned. The answers to its reports say whether it has; the gateway only
// makes it look sooner.
func (h *Handle) await(ctx context.Context, s Start) error {
	var over <-chan time.Time
	if s.Wait > 0 {
		timer := time.NewTimer(s.Wait)
		defer timer.Stop()
		over = timer.C
	}
	for {
		pause := h.renewEvery()
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
			return h.leaveQueue(h.refusal(s))
		case <-ctx.Done():
			look.Stop()
			return h.leaveQueue(context.Cause(ctx))
		}
		look.Stop()
	}
}

// begin reports that it is there, and, if it has its keys, that it begins.
func (h *Handle) begin(ctx context.Context) (began bool, err error) {
	ask := func(r kapi.Report) (told, error) {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		answer, err := h.client.report(ctx, h.ID(), r)
		if errors.Is(err, context.DeadlineExceeded) {
			err = unavailable("server %s: it does not answer", h.client.base)
		}
		return answer, err
	}
	answer, err := ask(kapi.Report{Fence: h.started.Fence})
	switch {
	case errors.Is(err, kapi.ErrUnknown):
		return false, kapi.ErrLost
	case err != nil:
		return false, err
	case answer.Cancel:
		return false, &kapi.CancelledError{}
	case len(answer.Keys) == 0:
		return false, nil
	}
	running := kapi.StatusRunning
	_, err = ask(kapi.Report{Fence: answer.Fence, Status: &running})
	switch {
	case errors.Is(err, kapi.ErrWaiting), errors.Is(err, kapi.ErrStaleFence):
		return false, nil // they were taken back
	case err != nil:
		return false, err
	}
	h.started.Fence = answer.Fence
	return true, nil
}

// leaveQueue gives the action up, for a reason, which it returns.
func (h *Handle) leaveQueue(reason error) error {
	if errors.Is(reason, kapi.ErrLost) {
		return reason
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	status, state := kapi.StatusFailed, "gave up waiting: "+reason.Error()
	_, err := h.client.report(ctx, h.ID(), kapi.Report{Fence: h.started.Fence, Status: &status, State: &state})
	if err != nil && !errors.Is(err, kapi.ErrUnknown) { // the server does it when it has heard nothing for long
		return errors.Join(reason, fmt.Errorf("take action %s from the queue: %w", h.ID(), err))
	}
	return reason
}

// refusal says what the action waits for, as the refusal of its start would have.
func (h *Handle) refusal(s Start) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	ongoing, err := h.client.List(ctx)
	if err != nil {
		return err
	}
	for _, key := range s.Keys {
		for _, a := range ongoing {
			if slices.Contains(a.Keys, key) {
				return &kapi.HeldError{Key: key, Holder: a, NotProvenDead: a.NotProvenDead(), Waited: s.Wait}
			}
		}
	}
	return fmt.Errorf("its turn did not come within %v", s.Wait)
}
