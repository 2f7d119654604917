package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type manCmd struct{}

// Help is called by kong.
func (manCmd) Help() string {
	return "Install it with: kapi man > /usr/local/share/man/man1/kapi.1"
}

func (manCmd) Run(a *app, parser *kong.Kong) error { return writeManual(a.stdout, parser.Model.Node) }

// writeManual writes the manual page, in the format of man(7), from the model of the command line.
func writeManual(w io.Writer, root *kong.Node) error {
	m := &manual{w: w}
	m.line(".TH KAPI 1")
	m.section("NAME", "kapi - keep long operations from being started twice, and see how they are doing")
	m.line(".SH SYNOPSIS")
	for _, c := range commands(root) {
		m.line(".br\n.B " + roff(c.FullPath()))
		m.text(usageOf(c))
	}
	m.section("DESCRIPTION", root.Help)
	m.line(".SH OPTIONS\nThese apply to all commands:")
	m.flags(root.Flags)
	m.line(".SH COMMANDS")
	for _, c := range commands(root) {
		m.line(".SS " + roff(c.FullPath()+" "+usageOf(c)))
		m.text(c.Help)
		if c.Detail != "" {
			for paragraph := range strings.SplitSeq(c.Detail, "\n\n") {
				m.line(".PP")
				m.text(paragraph)
			}
		}
		for _, p := range c.Positional {
			m.line(".TP\n.I " + roff(p.Name))
			m.text(p.Help)
		}
		m.flags(c.Flags)
	}
	m.line(".SH EXIT STATUS")
	for _, e := range exitCodes() {
		m.line(".TP\n.B " + roff(e.code))
		m.text(e.when)
	}
	return m.err
}

type manual struct {
	w   io.Writer
	err error
}

func (m *manual) line(s string) {
	if m.err == nil {
		_, m.err = fmt.Fprintln(m.w, s)
	}
}

func (m *manual) text(s string) {
	if s != "" {
		m.line(roff(s))
	}
}

func (m *manual) section(name, text string) {
	m.line(".SH " + name)
	m.text(text)
}

func (m *manual) flags(flags []*kong.Flag) {
	for _, f := range flags {
		if f.Hidden {
			continue
		}
		m.line(".TP\n.B " + roff(flagSynopsis(f)))
		help := f.Help
		if len(f.Envs) > 0 {
			help += " ($" + strings.Join(f.Envs, ", $") + ")"
		}
		m.text(help)
	}
}

// roff escapes characters that are special in troff.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return `\&` + s
	}
	return s
}

// commands returns the commands that can be run, in the order of the help.
func commands(node *kong.Node) (all []*kong.Node) {
	for _, child := range node.Children {
		if child.Hidden {
			continue
		}
		if len(child.Children) == 0 {
			all = append(all, child)
		}
		all = append(all, commands(child)...)
	}
	return all
}

func usageOf(c *kong.Node) string {
	words := []string{}
	if len(c.Flags) > 0 {
		words = append(words, "[flags]")
	}
	for _, p := range c.Positional {
		words = append(words, p.Summary())
	}
	return strings.Join(words, " ")
}

func flagSynopsis(f *kong.Flag) string {
	name := "--" + f.Name
	if f.Negated || f.Tag.Negatable != "" {
		name = "--[no-]" + f.Name
	}
	if f.Short != 0 {
		name = fmt.Sprintf("-%c, %s", f.Short, name)
	}
	switch {
	case !f.IsBool():
		name += " " + f.FormatPlaceHolder()
	case f.PlaceHolder != "":
		name += "[=" + f.PlaceHolder + "]"
	}
	return name
}
