package main

import (
	"fmt"

	"github.com/alecthomas/kong"
)

type helpCmd struct {
	Command []string `arg:"" optional:"" name:"command" help:"The command to describe. The default is kapi itself."`
}

// Run does what kapi COMMAND --help does.
func (c *helpCmd) Run(parser *kong.Kong) error {
	_, err := parser.Parse(append(c.Command, "--help"))
	return explain(err)
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
