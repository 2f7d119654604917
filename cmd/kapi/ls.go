package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kettubot/kapi"
)

type lsCmd struct {
	JSON bool `name:"json" help:"Print the wire form: a JSON array."`
}

func (c *lsCmd) Run(a *app) error {
	ctx := context.Background()
	return a.with(ctx, func(s *session) error {
		if c.JSON {
			list, err := s.ListJSON(ctx)
			if err != nil {
				return err
			}
			return writeln(a.stdout, "%s", list.JSON)
		}
		actions, err := s.List(ctx)
		if err != nil {
			return err
		}
		if len(actions) == 0 {
			// Not on stdout: who counts lines there must get 0.
			a.tell("no ongoing actions in %s", storeName(s.store))
			return nil
		}
		return a.table(actions, time.Now())
	})
}

func (a *app) table(actions []kapi.Action, now time.Time) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATUS\tPROGRESS\tTITLE\tSTATE\tKEYS\tRUNNER\tCREATED\tAGE")
	for _, action := range actions {
		keys := make([]string, len(action.Keys))
		for i, key := range action.Keys {
			keys[i] = plain(key)
		}
		cells := []string{
			action.ID, action.Status.String(), progressText(action.Progress),
			plain(action.Title), stateText(action.State), strings.Join(keys, " "),
			runnerText(action.Runner), localTime(action.CreatedAt), ageText(now, action.CreatedAt),
		}
		for i, cell := range cells {
			if cell == "" {
				cells[i] = "-" // so that every line has as many fields
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}
