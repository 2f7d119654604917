package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/kettubot/kapi"
)

type dismissCmd struct {
	IDs []string `arg:"" name:"id" help:"Ids of the actions to dismiss, as kapi ls shows them."`
}

func (c *dismissCmd) Run(a *app) error {
	ctx := context.Background()
	return a.with(ctx, func(p place) error {
		return a.each(c.IDs, func(id string) error {
			action, err := p.Dismiss(ctx, id, me())
			if errors.Is(err, kapi.ErrNotFailed) {
				return fmt.Errorf("only failed actions can be dismissed, and this one has not failed; to stop it: %s cancel %s%s", a.self(), a.storeArgument(), id)
			}
			if err != nil {
				return err
			}
			if action.NotProvenDead {
				a.eprintf("warning: %s was not proven dead: its work may still be going on, and its keys are free now", called(action))
			}
			return writeln(a.stdout, "dismissed %s, which had failed%s", plain(called(action)), reason(action.State))
		})
	})
}
