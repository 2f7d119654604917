package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/kettubot/kapi"
)

type operationsCmd struct {
	JSON bool `name:"json" help:"Print the wire form, as a JSON array, with the schemas of the arguments."`
}

func (c *operationsCmd) Run(a *app) error {
	ctx := context.Background()
	return a.with(ctx, func(p place) error {
		offers, err := p.Offers(ctx)
		if err != nil {
			return err
		}
		switch {
		case c.JSON:
			if offers == nil {
				offers = []kapi.Offer{} // an array, not null
			}
			return writeJSON(a.stdout, offers)
		case len(offers) == 0:
			a.eprintf("no operations in %s", p)
			return nil
		}
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tOFFERED\tRESUMABLE\tLIMIT\tTITLE")
		for _, o := range offers {
			limit := "-"
			if o.Limit > 0 {
				limit = fmt.Sprint(o.Limit)
			}
			fmt.Fprintln(w, strings.Join([]string{plain(o.Name), yesNo(o.Offered), yesNo(o.Resumable), limit, plain(o.Title)}, "\t"))
		}
		return w.Flush()
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// describeOffer prints the help of an operation.
func describeOffer(out io.Writer, o kapi.Offer) error {
	var b strings.Builder
	synopsis := ""
	if o.Schema != nil {
		synopsis = " [--arg NAME=VALUE]..."
	}
	fmt.Fprintf(&b, "Usage: kapi start %s%s [flags]\n\n%s\n", plain(o.Name), synopsis, plain(o.Title))
	if o.Description != "" {
		b.WriteString("\n")
		for line := range strings.Lines(o.Description) {
			b.WriteString(plain(strings.TrimRight(line, "\r\n")) + "\n")
		}
	}
	for _, fact := range []struct {
		holds bool
		text  string
	}{
		{o.Limit > 0, fmt.Sprintf("At most %d of its actions work at once.", o.Limit)},
		{o.Resumable, "If its runner dies, another one continues it."},
		{!o.Offered, "No live peer offers it now, so it can't be started."},
	} {
		if fact.holds {
			fmt.Fprintf(&b, "\n%s\n", fact.text)
		}
	}
	if o.Schema == nil {
		b.WriteString("\nIt takes no arguments.\n")
	} else {
		b.WriteString("\nArguments:\n")
		var rows strings.Builder
		table := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
		describeArguments(table, parseSchema(o.Schema), "")
		_ = table.Flush()
		for row := range strings.Lines(rows.String()) {
			b.WriteString(strings.TrimRight(row, " \n") + "\n")
		}
	}
	b.WriteString("\nkapi start --help lists the flags.\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// describeArguments prints a row for each argument: its name, its type, whether it must be given, and what it is.
func describeArguments(w io.Writer, of *schema, prefix string) {
	for _, p := range of.Properties {
		name := prefix + p.name
		nested := p.schema.is("object") && len(p.schema.names()) > 0 || p.schema.named()
		if !nested {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", plain(name), plain(typeOf(p.schema)), plain(needOf(of, p)), plain(aboutOf(p.schema)))
		}
		switch {
		case nested:
			describeArguments(w, p.schema, name+".")
		case p.schema.Items != nil && len(p.schema.Items.Properties) > 0:
			describeArguments(w, p.schema.Items, name+"[].")
		}
	}
	if of.named() {
		more := of.AdditionalProperties
		fmt.Fprintf(w, "  %s\t%s\toptional\t%s\n", plain(prefix+"NAME"), plain(typeOf(more)), plain(aboutOf(more)))
	}
}

func typeOf(s *schema) string {
	switch {
	case len(s.Type) == 0:
		return "any"
	case len(s.Type) == 1 && s.is("array") && s.Items != nil:
		return "list of " + typeOf(s.Items)
	case len(s.Type) == 1 && s.is("array"):
		return "list"
	}
	return strings.Join(s.Type, " or ")
}

func needOf(of *schema, p property) string {
	switch {
	case p.schema.Default != nil:
		return "default " + string(p.schema.Default)
	case slices.Contains(of.Required, p.name):
		return "required"
	}
	return "optional"
}

// aboutOf describes an argument, with its allowed values.
func aboutOf(s *schema) string {
	text := s.Description
	add := func(more string) { text = strings.TrimSpace(strings.TrimSuffix(text, ".") + " (" + more + ")") }
	switch {
	case len(s.Enum) > 0:
		var values []string
		for _, v := range s.Enum {
			values = append(values, strings.Trim(string(v), `"`))
		}
		add("one of " + strings.Join(values, ", "))
	case s.Minimum != nil && s.Maximum != nil:
		add(fmt.Sprintf("%s to %s", *s.Minimum, *s.Maximum))
	case s.Minimum != nil:
		add(fmt.Sprintf("at least %s", *s.Minimum))
	case s.Maximum != nil:
		add(fmt.Sprintf("at most %s", *s.Maximum))
	}
	return text
}
