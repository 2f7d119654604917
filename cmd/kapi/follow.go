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

// awaitTree waits for the end of the command's tree, and stops it when its time is over or its
// action is no longer to go on.
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
				j.app.eprintf("the time limit of %v is over: stopping the command", j.Timeout)
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

// mustStop says what happened to the action, and returns whether its command must
// stop. It may wait for that as long as the command goes on.
func (j *job) mustStop(over context.Context, cause error) bool {
	switch {
	case errors.Is(cause, kapi.ErrGivenUp):
		j.app.eprintf("action %s was given up, as nothing was heard of this host for long; its command goes on and its keys stay held", j.id)
		if !j.dismissed(over) {
			return false
		}
		j.app.eprintf("action %s was dismissed, so its keys may be another's: stopping the command", j.id)
	case errors.Is(cause, kapi.ErrLost) && cause != kapi.ErrLost: //nolint:errorlint // it says more
		j.lost = true
		j.app.eprintf("action %s: %v: stopping the command", j.id, cause)
	case errors.Is(cause, kapi.ErrLost):
		j.app.eprintf("action %s was dismissed or taken over, so its keys may be another's: stopping the command", j.id)
	default:
		j.app.eprintf("action %s was %v: stopping the command", j.id, cause)
	}
	return true
}

// lookAgain is how long a place that can't be reached is left alone.
const lookAgain = 5 * time.Second

// dismissed waits until the action, which was given up, is dismissed; it is false if
// the command ended before.
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
