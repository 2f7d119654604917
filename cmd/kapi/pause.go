package main

import "context"

type pauseCmd struct {
	IDs []string `arg:"" name:"id" help:"Ids of the actions to pause, as kapi ls shows them."`
}

// Help is called by kong.
func (pauseCmd) Help() string {
	return "Only an action of an operation that was started by its name can pause. It does so before its next effect, keeps its keys, and is shown as impacted then. kapi resume ends the pause."
}

func (c *pauseCmd) Run(a *app) error {
	ctx := context.Background()
	return a.with(ctx, func(p place) error {
		return a.each(c.IDs, func(id string) error {
			action, err := p.Pause(ctx, id, me())
			if err != nil {
				return err
			}
			return writeln(a.stdout, "asked %s to pause", plain(called(action)))
		})
	})
}

type resumeCmd struct {
	IDs []string `arg:"" name:"id" help:"Ids of the paused actions, as kapi ls shows them."`
}

func (c *resumeCmd) Run(a *app) error {
	ctx := context.Background()
	return a.with(ctx, func(p place) error {
		return a.each(c.IDs, func(id string) error {
			before, err := p.Get(ctx, id)
			if err != nil {
				return err
			}
			action, err := p.Unpause(ctx, id, me())
			if err != nil {
				return err
			}
			if before.PausedBy == "" {
				return writeln(a.stdout, "%s is not paused", plain(called(action)))
			}
			return writeln(a.stdout, "resumed %s", plain(called(action)))
		})
	})
}
