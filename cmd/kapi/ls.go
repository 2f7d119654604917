package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kettubot/kapi"
)

type lsCmd struct {
	JSON bool `name:"json" help:"Print the wire form, as a JSON array."`
}

func (c *lsCmd) Run(a *app) error {
	ctx := context.Background()
	return a.with(ctx, func(p place) error {
		actions, err := p.List(ctx)
		if err != nil {
			return err
		}
		switch {
		case c.JSON:
			if actions == nil {
				actions = []kapi.Action{} // an array, not null
			}
			return writeJSON(a.stdout, actions)
		case len(actions) == 0:
			// Not on stdout, where the number of lines must be 0.
			a.eprintf("no ongoing actions in %s", p)
			return nil
		}
		if err := p.refreshHeard(ctx, actions); err != nil {
			a.eprintf("HEARD is as of each action's last change, as it can't be refreshed: %v", err)
		}
		return a.table(actions, time.Now())
	})
}

func (a *app) table(actions []kapi.Action, now time.Time) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	header := "ID\tSTATUS\tPROGRESS\tTITLE\tSTATE\tKEYS\tRUNNER\tHEARD\tCREATED\tAGE"
	named := slices.ContainsFunc(actions, func(a kapi.Action) bool { return a.Operation != "" })
	if named {
		header += "\tOPERATION"
	}
	fmt.Fprintln(w, header)
	for _, action := range actions {
		keys := make([]string, len(action.Keys))
		for i, key := range action.Keys {
			keys[i] = plain(key)
		}
		cells := []string{
			plain(action.ID), action.Status.String(), progressText(action.Progress),
			plain(action.Title), saying(action), strings.Join(keys, " "),
			runnerText(action.Runner), heardText(now, action), localTime(action.CreatedAt), ageText(now, action.CreatedAt),
		}
		if named {
			cells = append(cells, plain(action.Operation))
		}
		for i, cell := range cells {
			if cell == "" {
				cells[i] = "-" // so that every line has the same number of fields
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// heardText says when an action's runner was last heard of. It is empty if the action has ended, as that
// means nothing then.
func heardText(now time.Time, a kapi.Action) string {
	if a.Runner == nil || a.Runner.HeardAt == 0 || !a.Status.Active() {
		return ""
	}
	return ageText(now, a.Runner.HeardAt) + " ago"
}
