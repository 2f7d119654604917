// Command kapi runs commands as actions, shows what is going on, and serves it: on a web page, over
// REST and the gateway, and to Prometheus. See kapi --help, and the README for a tour.
package main

import (
	"io"
	"os"
	"reflect"
	"time"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/wellformed"
)

const description = `Actions are operations that take time: kapi keeps each from being started twice, ` +
	`shows how far it is, and says how it ended. ` +
	`Every flag may be given as an environment variable instead, as shown behind it.`

// cli is the command line. The help texts are the reference of the flags.
type cli struct {
	Store       string `placeholder:"sqlite:PATH" help:"Where actions are kept: sqlite:PATH, or postgres://USER@HOST:PORT/DATABASE. The default is a SQLite file in the user's state directory."`
	StoreSchema string `placeholder:"NAME" help:"The schema of a PostgreSQL store. The default is kapi."`
	StoreListen string `placeholder:"DSN" help:"The PostgreSQL database itself, to listen for changes, if --store goes through a PgBouncer."`

	StoreTimeout time.Duration `default:"5s" placeholder:"DURATION" help:"How long a start, or another change, waits for a store that is locked or can't be reached, before it is refused; it can't be off (default: ${default})."`

	Server string `placeholder:"URL" help:"A kapi server to use instead of a store, for run, ls, watch, dismiss and cancel."`
	Token_ string `name:"token" placeholder:"T" help:"Token for --server; best given as the variable."`

	ShowVersion versionFlag `name:"version" env:"-" help:"Print the version."`

	Run        runCmd        `cmd:"" help:"Run a command as an action; exits with the command's code."`
	Ls         lsCmd         `cmd:"" help:"List the ongoing actions."`
	Watch      watchCmd      `cmd:"" help:"Print changes as they happen; with IDs, until those have ended."`
	Dismiss    dismissCmd    `cmd:"" help:"Dismiss failed actions, which frees their keys."`
	Cancel     cancelCmd     `cmd:"" help:"Ask the runners of actions to stop."`
	Token      tokenCmd      `cmd:"" help:"Make, list and revoke tokens for what kapi serve offers."`
	Serve      serveCmd      `cmd:"" help:"Serve the store: web page, REST, gateway and metrics."`
	Completion completionCmd `cmd:"" help:"Print what a shell needs to complete commands and flags."`
	Man        manCmd        `cmd:"" help:"Print the manual page."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	HelpOf     helpCmd       `cmd:"" name:"help" help:"Show the help of a command: kapi help run."`
}

// app is what every command is given.
type app struct {
	stdout, stderr io.Writer
	// name is what this program was called by.
	name string
	// store, server and token are the flags, or their variables; of store and server one is empty.
	store, server, token string
	// given are the flags that are on the command line, not variables.
	given                    map[string]bool
	storeSchema, storeListen string
	storeTimeout             time.Duration
	// faults catches the panics of the goroutines that serve a command.
	faults *fault.Net
	// around, for tests, is what a command gets instead of its place.
	around func(place) place
	// ownVariables are the environment variables of the flags that only kapi run has.
	ownVariables []string
	// secrets are not repeated in errors; see secretsOf.
	secrets []string
}

func main() { os.Exit(kapiMain()) }

func kapiMain() int {
	return (&app{stdout: os.Stdout, stderr: os.Stderr, name: os.Args[0]}).main(os.Args[1:])
}

// main runs a command line, and returns what to exit with.
func (a *app) main(args []string) int {
	a.faults = fault.NewNet(func(p *fault.Panic) {
		a.printFault(p)
		os.Exit(exitFault)
	})
	a.secrets = secretsOf(args, os.Environ())
	var err error
	a.faults.Try(func() { err = a.run(args) })
	err = a.whatItLacks(err)
	a.complain(err)
	return exitCode(err)
}

func (a *app) run(args []string) error {
	var c cli
	parser, err := newParser(&c)
	if err != nil {
		return err
	}
	for _, name := range []string{"KAPI_STORE", "KAPI_SERVER", "KAPI_TOKEN"} {
		if value, given := os.LookupEnv(name); given {
			_ = os.Setenv(name, wellformed.Trim(value))
		}
	}
	forgetEmptyVariables(parser.Model.Node)
	ctx, err := parser.Parse(args)
	if err != nil {
		return a.unquoted(explain(err), args, parser.Model.Node)
	}
	if err := a.take(&c, onTheLine(ctx)); err != nil {
		return a.unquoted(err, args, parser.Model.Node)
	}
	a.ownVariables = variablesOf(parser.Model.Node, "run")
	return a.unquoted(ctx.Run(a, parser), args, parser.Model.Node)
}

func newParser(c *cli) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("kapi"), kong.Description(description),
		kong.DefaultEnvars("KAPI"),
		kong.KindMapper(reflect.String, kong.MapperFunc(decodeText)),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(decodeDuration)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
}

// decodeText takes a text as it is, byte for byte: kong's own way of it goes through JSON, which
// puts U+FFFD in the place of every byte that is not UTF-8. So the command would get the name of
// another file, and two keys would become one.
func decodeText(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("string")
	if err != nil {
		return err
	}
	target.SetString(token.String())
	return nil
}

// forgetEmptyVariables makes an empty variable count as an absent one.
func forgetEmptyVariables(node *kong.Node) {
	for _, flag := range node.Flags {
		for _, name := range flag.Envs {
			if os.Getenv(name) == "" {
				_ = os.Unsetenv(name)
			}
		}
	}
	for _, child := range node.Children {
		forgetEmptyVariables(child)
	}
}

func variablesOf(node *kong.Node, command string) (names []string) {
	for _, child := range node.Children {
		if child.Name == command {
			for _, flag := range child.Flags {
				names = append(names, flag.Envs...)
			}
		}
	}
	return names
}
