package main

import (
	"context"
	"fmt"
)

type cancelCmd struct {
	IDs    []string `arg:"" name:"id" help:"Ids of the actions to cancel, as kapi ls shows them."`
	Kill   bool     `help:"Send SIGKILL to the action's processes, whether or not its runner is alive. Works only on the runner's host, with --store."`
	GiveUp bool     `help:"Fail an impacted action at once and mark it as not proven dead: it keeps its keys until it is dismissed."`
}

// AfterApply is called by kong.
func (c *cancelCmd) AfterApply() error {
	if c.Kill && c.GiveUp {
		return usage("--kill and --give-up can't be combined")
	}
	return nil
}

func (c *cancelCmd) Run(a *app) error {
	ctx := context.Background()
	return a.with(ctx, func(p place) error {
		return a.each(c.IDs, func(id string) error {
			switch {
			case c.Kill:
				return a.kill(ctx, p, id)
			case c.GiveUp:
				action, err := p.GiveUp(ctx, id, me())
				if err != nil {
					return err
				}
				return writeln(a.stdout, "gave up %s; it is not proven dead, so it keeps its keys until it is dismissed", plain(called(action)))
			}
			action, err := p.Cancel(ctx, id, me())
			if err != nil {
				return err
			}
			return writeln(a.stdout, "asked %s to stop", plain(called(action)))
		})
	})
}

// kill kills the processes that are left of an action, and lists them.
func (a *app) kill(ctx context.Context, p place, id string) error {
	s, ok := p.(*session)
	if !ok {
		return a.killElsewhere(ctx, p, id)
	}
	killed, err := s.Kill(ctx, id, me())
	if err != nil && len(killed.Processes) == 0 {
		return err
	}
	for _, process := range killed.Unsure {
		a.eprintf("process %s may belong to the action, and was left alone", process)
	}
	if len(killed.Processes) == 0 && (killed.Hidden || len(killed.Unsure) > 0) {
		return fmt.Errorf("nothing was killed: the processes of the action can't be told from others, or are hidden from this user")
	}
	if len(killed.Processes) == 0 {
		return writeln(a.stdout, "%s has no processes left to kill", plain(called(killed.Action)))
	}
	for _, process := range killed.Processes {
		if err := writeln(a.stdout, "killed process %s of %s", plain(process), plain(called(killed.Action))); err != nil {
			return err
		}
	}
	return err
}

// killElsewhere returns an error that says where to kill an action of a server.
func (a *app) killElsewhere(ctx context.Context, p place, id string) error {
	all, err := p.List(ctx)
	if err != nil {
		return err
	}
	for _, action := range all {
		if action.ID == id && action.Runner != nil {
			return fmt.Errorf("its processes can only be killed on %s, with --store", action.Runner.Host)
		}
	}
	return fmt.Errorf("its processes can only be killed on its runner's host, with --store")
}
