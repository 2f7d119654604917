package main

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi/internal/supervise"
)

// The errors in a command line: each says what is wrong, and the way out.

// explain replaces an error of kong by a clearer one, where there is one.
func explain(err error) error {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil || is[*usageError](err) {
		return err
	}
	node, rest := reached(parse.Context)
	if parse.Context.Error == nil { // every word was understood
		return missing(node, err)
	}
	if len(rest) == 0 {
		return err
	}
	name, isLong := strings.CutPrefix(rest[0], "--")
	name, _, _ = strings.Cut(name, "=")
	switch {
	case isLong && name != "":
		return wrongFlag(node, name, rest, err)
	case len(rest[0]) > 1 && rest[0][0] == '-' && !isLong:
		return unknownLetter(node, rest[0][1:2], err)
	case len(node.Children) > 0:
		return unknownCommand(node, rest)
	}
	return err
}

// reached returns the last command that was understood, and the words after the understood ones.
func reached(ctx *kong.Context) (node *kong.Node, rest []string) {
	node = ctx.Model.Node
	for _, path := range ctx.Path {
		if path.Command != nil {
			node = path.Command
		}
		rest = path.Remainder()
	}
	return node, rest
}

// missing returns the error for a command line that ends too early.
func missing(node *kong.Node, err error) error {
	if len(node.Children) > 0 {
		return &noCommandError{node}
	}
	for _, p := range node.Positional {
		if p.Required && !p.Set {
			return missingArgument(node, p)
		}
	}
	return err
}

func missingArgument(node *kong.Node, p *kong.Positional) error {
	help := strings.TrimSuffix(strings.ToLower(p.Help[:1])+p.Help[1:], ".")
	return usage("%s: %s is missing: %s", strings.TrimPrefix(node.FullPath(), "kapi "), strings.ToUpper(p.Name), help)
}

// wrongFlag returns the error for the long flag that rest begins with: err, if there is no clearer one.
func wrongFlag(node *kong.Node, name string, rest []string, err error) error {
	if flag := flagOf(node, name); flag != nil {
		// The flag has no value: no word follows, or the next one is another flag.
		if !flag.IsBool() && !strings.Contains(rest[0], "=") && (len(rest) == 1 || strings.HasPrefix(rest[1], "-")) {
			return usage("--%s needs a value: --%[1]s=%s", name, flag.FormatPlaceHolder())
		}
		return err
	}
	var owners []string
	for _, c := range commands(root(node)) {
		if flagOf(c, name) != nil {
			owners = append(owners, c.FullPath())
		}
	}
	switch {
	case len(owners) == 0:
		return err
	case len(node.Children) > 0:
		return usage("unknown flag --%s: it is a flag of %s, and must follow the command", name, list(owners, "and"))
	}
	return usage("unknown flag --%s: it is a flag of %s, not of %s", name, list(owners, "and"), node.FullPath())
}

// unknownLetter returns the error for a short flag: -h is the only one.
func unknownLetter(node *kong.Node, letter string, err error) error {
	if letter == "h" {
		return err
	}
	var meant []string
	for n := node; n != nil; n = n.Parent {
		for _, f := range n.Flags {
			if strings.HasPrefix(f.Name, strings.ToLower(letter)) && f.Short == 0 {
				meant = append(meant, "--"+f.Name)
			}
		}
	}
	if len(meant) == 0 {
		return usage("unknown flag -%s: the only short flag is -h; %s --help lists the flags", letter, node.FullPath())
	}
	return usage("unknown flag -%s, did you mean %s? The only short flag is -h", letter, list(meant, "or"))
}

func unknownCommand(node *kong.Node, rest []string) error {
	if node.Parent == nil {
		if path, err := supervise.Look(rest[0]); err == nil && path != "" {
			return usage("unknown command %[1]s; to run the program of that name: kapi run -- %[1]s ...", shellQuote(rest[0]))
		}
	}
	var names []string
	for _, c := range node.Children {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	return usage("unknown command %s; %s has %s", shellQuote(rest[0]), node.FullPath(), list(names, "and"))
}

func root(node *kong.Node) *kong.Node {
	for node.Parent != nil {
		node = node.Parent
	}
	return node
}

// flagOf returns the flag of that name that a command accepts, nil if there is none.
func flagOf(node *kong.Node, name string) *kong.Flag {
	for n := node; n != nil; n = n.Parent {
		for _, f := range n.Flags {
			if f.Name == name || f.Tag.Negatable != "" && "no-"+f.Name == name {
				return f
			}
		}
	}
	return nil
}

func list(words []string, last string) string {
	n := len(words) - 1
	if n < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}

// A noCommandError is for a command line without a command, or with only its first word, as in kapi token.
type noCommandError struct{ node *kong.Node }

func (e *noCommandError) Error() string { return "which command?" }

// printCommands lists the commands to choose from.
func (e *noCommandError) printCommands(w io.Writer) {
	path := e.node.FullPath()
	fmt.Fprintf(w, "kapi: a command is missing: %s COMMAND ...\n\n", path)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range e.node.Children {
		if !c.Hidden {
			fmt.Fprintf(table, "  %s\t%s\n", c.Name, c.Help)
		}
	}
	_ = table.Flush()
	if e.node.Parent == nil {
		fmt.Fprint(w, "\nTo get started: kapi run --key backup -- ./backup.sh\n")
	}
	fmt.Fprintf(w, "\n%s COMMAND --help says more.\n", path)
}

// decodeDuration decodes the value of a flag.
func decodeDuration(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("duration")
	if err != nil {
		return err
	}
	d, err := parseDuration(token.String())
	if err != nil {
		return err
	}
	target.Set(reflect.ValueOf(d))
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err == nil:
		return d, nil
	case lacksUnit(text):
		return 0, fmt.Errorf("%[1]s has no unit: use %[1]ss for seconds, %[1]sm for minutes, %[1]sh for hours", text)
	}
	return 0, fmt.Errorf("expected a duration, like 90s, 10m or 1h30m, but got %q", text)
}

func lacksUnit(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil && strings.Trim(text, "+-.0123456789") == ""
}
