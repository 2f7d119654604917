// Command kapi runs commands as actions, shows the ongoing ones, and serves them on a web page, over REST
// and the gateway, and as metrics. See kapi --help, and the README for a tour.
package main

import (
	"io"
	"os"
	"reflect"
	"runtime"
	"time"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/wellformed"
)

const description = `An action is an operation that takes time. ` +
	`kapi keeps it from being started twice, shows its progress, and records how it ended. ` +
	`Every flag can also be set by the environment variable that is shown after it.`

// cli is the command line. The help texts are the reference of the flags.
type cli struct {
	Store       string `placeholder:"sqlite:PATH" help:"Where actions are kept: sqlite:PATH, or postgres://USER@HOST:PORT/DATABASE. The default is a SQLite file in the user's state directory."`
	StoreSchema string `placeholder:"NAME" help:"The schema of a PostgreSQL store. The default is kapi."`
	StoreListen string `placeholder:"DSN" help:"Direct connection to the PostgreSQL database, to listen for changes, if --store goes through PgBouncer."`

	StoreTimeout time.Duration `default:"5s" placeholder:"DURATION" help:"How long a start or other change waits, if the store is locked or can't be reached, before it is refused; it can't be off (default: ${default})."`

	Server string `placeholder:"URL" help:"A kapi server to use instead of a store, for all commands but serve and token."`
	Token_ string `name:"token" placeholder:"T" help:"Token for --server. Prefer the variable, as other users can read a command line."`

	ShowVersion versionFlag `name:"version" env:"-" help:"Print the version."`

	Run        runCmd        `cmd:"" help:"Run a command as an action, and exit with its code."`
	Ls         lsCmd         `cmd:"" help:"List the ongoing actions."`
	Watch      watchCmd      `cmd:"" help:"Show changes as they happen; with IDs, until those actions have ended."`
	Dismiss    dismissCmd    `cmd:"" help:"Dismiss failed actions, which frees their keys."`
	Cancel     cancelCmd     `cmd:"" help:"Ask actions to stop, kill them, or give them up."`
	Start      startCmd      `cmd:"" help:"Start an operation that a program offers, by its name."`
	Operations operationsCmd `cmd:"" help:"List the operations that can be started."`
	Pause      pauseCmd      `cmd:"" help:"Ask operations to pause."`
	Resume     resumeCmd     `cmd:"" help:"End the pause of operations."`
	Token      tokenCmd      `cmd:"" help:"Make, list and revoke tokens for kapi serve."`
	Serve      serveCmd      `cmd:"" help:"Serve the store: web page, REST API, gateway and metrics."`
	Completion completionCmd `cmd:"" help:"Print the completion script for a shell."`
	Man        manCmd        `cmd:"" help:"Print the manual page."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	HelpOf     helpCmd       `cmd:"" name:"help" help:"Show the help of a command: kapi help run."`
	Complete   completeCmd   `cmd:"" hidden:"" help:"For the completion scripts: print the names that can follow."`
}

// app is what all commands share.
type app struct {
	stdout, stderr io.Writer
	// name is the name that this program was started by.
	name string
	// store, server and token are the values of the flags or their variables. At most one of store and
	// server is set.
	store, server, token string
	// given has the names of the flags that are set on the command line rather than by variables.
	given                    map[string]bool
	storeSchema, storeListen string
	storeTimeout             time.Duration
	// faults catches the panics of the goroutines that serve a command.
	faults *fault.Net
	// around wraps the place of a command, in tests; it may be nil.
	around func(place) place
	// ownVariables are the environment variables of the flags that only kapi run has.
	ownVariables []string
	// secrets are texts that are never printed; see secretsOf.
	secrets []string
}

func main() { os.Exit(kapiMain()) }

func kapiMain() int {
	runtime.MemProfileRate = 0 // nobody asks for this profile, and its tables take memory in each of many processes
	return (&app{stdout: os.Stdout, stderr: os.Stderr, name: os.Args[0]}).main(os.Args[1:])
}

// main runs a command line, and returns the exit code.
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
	args, explained := operationHelp(parser, args)
	ctx, err := parser.Parse(args)
	if err != nil {
		return a.unquoted(explain(err), args, parser.Model.Node)
	}
	if err := a.take(&c, onTheLine(ctx)); err != nil {
		return a.unquoted(err, args, parser.Model.Node)
	}
	a.ownVariables = variablesOf(parser.Model.Node, "run")
	if explained != "" {
		return a.explain(explained)
	}
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

// decodeText decodes a text byte for byte. kong's own decoder goes through JSON, which replaces bytes that
// are not UTF-8 by U+FFFD: the command would get the name of another file, and two keys could become one.
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
