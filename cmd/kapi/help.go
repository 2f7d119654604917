package main

import (
	"fmt"

	"github.com/alecthomas/kong"
)

type helpCmd struct {
	Command []string `arg:"" optional:"" name:"command" help:"The command to describe. The default is kapi itself."`
}

// Run does what kapi COMMAND --help does.
func (c *helpCmd) Run(a *app, parser *kong.Kong) error {
	if len(c.Command) == 2 && c.Command[0] == "start" {
		return a.explain(c.Command[1])
	}
	_, err := parser.Parse(append(c.Command, "--help"))
	return explain(err)
}

// operationHelp recognises kapi start NAME --help. It returns the name of the operation, and args without the flag, which
// would print the help of kapi start.
func operationHelp(parser *kong.Kong, args []string) (rest []string, name string) {
	for _, arg := range args {
		if arg != "--help" && arg != "-h" {
			rest = append(rest, arg)
		}
	}
	if len(rest) == len(args) {
		return args, ""
	}
	trace, err := kong.Trace(parser, rest)
	if err != nil || trace.Error != nil {
		return args, ""
	}
	if name = operationIn(trace); name == "" {
		return args, ""
	}
	return rest, name
}

// operationIn returns the operation that a command line of kapi start names, "" if it is none, or none of that command.
func operationIn(trace *kong.Context) string {
	selected := trace.Selected()
	if selected == nil || selected.FullPath() != "kapi start" {
		return ""
	}
	for _, path := range trace.Path {
		if path.Positional != nil {
			return trace.Value(path).String()
		}
	}
	return ""
}

// A versionFlag does what kapi version does.
type versionFlag bool

// BeforeReset is called by kong.
func (versionFlag) BeforeReset(k *kong.Kong) error {
	if _, err := fmt.Fprintln(k.Stdout, versionLine()); err != nil {
		return err
	}
	k.Exit(0)
	return nil
}
