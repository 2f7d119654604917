package main

import "context"

type cancelCmd struct {
	IDs []string `arg:"" name:"id" help:"Actions to cancel."`
}

func (c *cancelCmd) Run(a *app) error {
	ctx := context.Background()
	return a.with(ctx, func(p place) error {
		return a.each(c.IDs, func(id string) error {
			action, err := p.Cancel(ctx, id, me())
			if err != nil {
				return err
			}
			return writeln(a.stdout, "asked %s to stop", plain(called(action)))
		})
	})
}
