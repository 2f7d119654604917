package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/supervise"
)

// awaitTree waits until the command's process tree has ended. It stops the tree at the time limit, or
// when the action must not continue.
func (j *job) awaitTree(ctx context.Context, tree *supervise.Tree) supervise.Result {
	over, end := context.WithCancel(context.Background())
	var limit <-chan time.Time
	if j.Timeout > 0 {
		timer := time.NewTimer(j.Timeout)
		defer timer.Stop()
		limit = timer.C
	}
	var wg sync.WaitGroup
	j.faults.Go(&wg, func() {
		ended, mustStop := ctx.Done(), make(chan bool, 1)
		for {
			select {
			case <-over.Done():
				return
			case <-limit:
				j.late = true
				tree.Stop()
				j.app.eprintf("the time limit of %v was reached: stopping the command", j.Timeout)
				return
			case <-ended:
				ended = nil
				j.faults.Go(&wg, func() { mustStop <- j.mustStop(over, context.Cause(ctx)) })
			case stop := <-mustStop:
				if stop {
					j.stopped = true
					tree.Stop()
					return
				}
			}
		}
	})
	result := tree.Wait()
	end()
	wg.Wait()
	return result
}

// mustStop prints what happened to the action, and returns whether its command must stop. If the action
// was given up, it first waits until the action is dismissed or the command has ended.
func (j *job) mustStop(over context.Context, cause error) bool {
	switch {
	case errors.Is(cause, kapi.ErrGivenUp):
		j.app.eprintf("action %s was given up because this host was silent for too long; its command continues and its keys stay held", j.id)
		if !j.dismissed(over) {
			return false
		}
		j.app.eprintf("action %s was dismissed, so another action may hold its keys: stopping the command", j.id)
	case errors.Is(cause, kapi.ErrLost) && cause != kapi.ErrLost: //nolint:errorlint // an error that wraps it says more
		j.lost = true
		j.app.eprintf("action %s: %v: stopping the command", j.id, cause)
	case errors.Is(cause, kapi.ErrLost):
		j.app.eprintf("action %s was dismissed or taken over, so another action may hold its keys: stopping the command", j.id)
	default:
		j.app.eprintf("action %s was %v: stopping the command", j.id, cause)
	}
	return true
}

// lookAgain is the pause before a place that can't be reached is tried again.
const lookAgain = 5 * time.Second

// dismissed waits until the action, which was given up, is dismissed. It returns false if over ends
// first.
func (j *job) dismissed(over context.Context) bool {
	for {
		err := j.awaitDismissal(over)
		switch {
		case err == nil:
			return true
		case errors.Is(err, kapi.ErrGap):
			continue
		}
		select {
		case <-time.After(lookAgain):
		case <-over.Done():
			return false
		}
	}
}

func (j *job) awaitDismissal(over context.Context) error {
	now, watch, err := j.place.follow(over)
	if err != nil {
		return err
	}
	defer watch.Close()
	if !slices.ContainsFunc(now, func(a kapi.Action) bool { return a.ID == j.id }) {
		return nil
	}
	for {
		a, err := watch.Next(over)
		if err != nil || a.ID == j.id && !a.Status.Ongoing() {
			return err
		}
	}
}
