package main

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/kettubot/kapi"
)

// A runner's HeardAt is updated without a change of its action, so in a list it is as of the last change.
// refreshHeard brings it up to date.

func (s *session) refreshHeard(ctx context.Context, actions []kapi.Action) error {
	heard := map[string]int64{}
	var ids []string
	for _, action := range actions {
		if r := action.Runner; r != nil && heard[r.ID] == 0 {
			heard[r.ID] = r.HeardAt
			ids = append(ids, r.ID)
		}
	}
	runners, err := s.store.Runners(ctx, ids)
	if err != nil {
		return err
	}
	for _, r := range runners {
		heard[r.ID] = r.HeardAt
	}
	for i := range actions {
		setHeard(&actions[i], heard)
	}
	return nil
}

// refreshHeard asks the server for each active action, but for at most 100, to stay below rate limits.
func (r *remote) refreshHeard(ctx context.Context, actions []kapi.Action) error {
	const most, atOnce = 100, 8
	asked := 0
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range actions {
		if actions[i].Runner == nil || !actions[i].Status.Active() || asked == most {
			continue
		}
		asked++
		g.Go(func() error {
			now, err := r.Get(ctx, actions[i].ID)
			switch {
			case errors.Is(err, kapi.ErrUnknown): // it has ended since
				return nil
			case err != nil:
				return err
			}
			if now.Runner != nil {
				setHeard(&actions[i], map[string]int64{now.Runner.ID: now.Runner.HeardAt})
			}
			return nil
		})
	}
	return g.Wait()
}

// setHeard sets HeardAt in a copy of the runner, as the original may be shared.
func setHeard(a *kapi.Action, heard map[string]int64) {
	if a.Runner == nil || heard[a.Runner.ID] == 0 {
		return
	}
	runner := *a.Runner
	runner.HeardAt = heard[runner.ID]
	a.Runner = &runner
}
