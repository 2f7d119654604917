package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/progress"
	"github.com/kettubot/kapi/internal/supervise"
)

type runCmd struct {
	Key              []string `sep:"none" placeholder:"KEY" help:"Key to hold: no other action with this key can run at the same time. May be repeated; in the variable, spaces separate keys."`
	Title            *string  `help:"Title of the action. The default is the program's base name."`
	Description      string   `help:"Description of the action."`
	ReleaseOnFailure bool     `help:"Free the keys even if the command fails: for commands that are safe to repeat."`
	DismissFailed    bool     `help:"Dismiss failed actions that hold the same keys, if their work is known to have ended."`

	Wait patience `placeholder:"DURATION" help:"If a key is held, wait until it is this command's turn; with =DURATION, at most that long."`
	Join bool     `help:"If a key is held, follow the action that holds it to its end instead of running the command, and exit as it does."`

	Progress string  `placeholder:"REGEXP" help:"Regular expression that finds progress in the command's output, with a group named percent, or groups named done and total, and optionally one named state. With --total N, progress is the group done, or the only group, divided by N; without a group, it is the number of matches divided by N."`
	Total    float64 `placeholder:"N" help:"Number that means 100% for --progress."`
	TTY      *bool   `name:"tty" negatable:"" help:"Give the command a pseudo-terminal for its output, or never (--no-tty). By default it gets one if kapi's own output is a terminal."`

	Timeout      time.Duration `placeholder:"DURATION" help:"Stop the command after this long; kapi then exits with 124. 0 is off (the default)."`
	Grace        time.Duration `default:"10s" placeholder:"DURATION" help:"How long the command may take to end when it is asked to, before it is killed; 0 is off: it is killed at once (default: ${default})."`
	Stall        time.Duration `placeholder:"DURATION" help:"Show the action as impacted while neither its progress nor its state has changed for this long; 0 is off (the default)."`
	LeaveRunning bool          `help:"If kapi run itself is killed, leave the command and its processes running instead of asking them to end. With this flag kapi doesn't read the command's output."`

	PassToken bool `help:"Pass the token to the command, in $KAPI_TOKEN: a nested kapi needs it to use the same server."`

	EndTimeout time.Duration `default:"10m" placeholder:"DURATION" help:"How long to keep trying to record the end of the command, if the store or server can't be reached; 0 is off: no limit (default: ${default})."`

	Command []string `arg:"" passthrough:"partial" name:"command" help:"The command and its arguments, preferably after --."`

	pattern *progress.Pattern
}

// Help is called by kong.
func (c *runCmd) Help() string {
	return `In full: kapi run [flags] -- CMD [ARG...]. Everything after CMD is passed to it.

CMD's output and signals pass through. kapi learns CMD's progress from messages to the socket $KAPI_NOTIFY (systemd's notify protocol), from the terminal escape sequence for progress, with --progress, or from percentages in lines of the same form. CMD finds the id of its action in $KAPI_ACTION, its fence in $KAPI_FENCE, and the ids of the actions around it in $KAPI_WITHIN. The action ends when CMD and all processes that it started have ended. It fails if CMD fails; its state then has the exit status or the signal, and the last line of stderr.

` + exitHelp()
}

// AfterApply is called by kong.
func (c *runCmd) AfterApply(ctx *kong.Context) error {
	given := false
	for _, path := range ctx.Path {
		given = given || path.Flag != nil && path.Flag.Name == "key"
	}
	if !given {
		c.Key = strings.Fields(strings.Join(c.Key, " "))
	}
	c.takeWait()
	if c.Command[0] == "--" {
		c.Command = c.Command[1:]
	}
	if len(c.Command) == 0 {
		return missingArgument(ctx.Selected(), ctx.Selected().Positional[0])
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{
		{"--end-timeout", c.EndTimeout}, {"--timeout", c.Timeout}, {"--grace", c.Grace}, {"--stall", c.Stall},
	} {
		if d.value < 0 {
			return usage("%s must not be negative", d.flag)
		}
	}
	if c.Wait.wanted && c.Join {
		return usage("--wait and --join can't be combined")
	}
	return c.checkProgress()
}

func (c *runCmd) checkProgress() (err error) {
	switch {
	case c.TTY == nil || !*c.TTY:
	case !supervise.HasTerminals:
		return usage("--tty: this system has no pseudo-terminals")
	case c.LeaveRunning:
		return usage("--tty and --leave-running can't be combined: --leave-running gives the command kapi's own output")
	}
	if c.Progress == "" {
		if c.Total != 0 {
			return usage("--total needs --progress")
		}
		return nil
	}
	if c.LeaveRunning {
		return usage("--progress and --leave-running can't be combined: with --leave-running kapi doesn't read the output")
	}
	if c.pattern, err = progress.ParsePattern(c.Progress, c.Total); err != nil {
		return usage("--progress %s: %v", c.Progress, err)
	}
	return nil
}

func (c *runCmd) tty() supervise.TTY {
	switch {
	case c.TTY == nil:
		return supervise.TTYAuto
	case *c.TTY:
		return supervise.TTYAlways
	}
	return supervise.TTYNever
}

func (c *runCmd) Run(a *app) error {
	path, err := supervise.Look(c.Command[0])
	if err != nil {
		return c.notFound(err)
	}
	reserved := supervise.Reserve(c.Command[0])
	j := &job{app: a, runCmd: c, path: path, signals: supervise.Catch(), ended: make(chan struct{})}
	j.faults = fault.NewNet(j.caught)
	a.faults = j.faults
	spoken := a.speakAside(j.faults)
	defer func() { spoken(j.haste) }()
	defer j.release()
	j.watchStart()
	j.place, err = a.place(j.starting, terms{endTimeout: c.EndTimeout, retrying: j.retrying, reporting: j.reporting})
	noThreads := reserved() // they were created meanwhile
	if err != nil {
		return cmp.Or(j.begin(), noThreads, err)
	}
	defer j.tracking.Wait() // after close, as they may wait for the store
	defer j.place.close()
	if noThreads != nil {
		return cmp.Or(j.begin(), noThreads)
	}
	place := j.place.quiesce
	j.quiesce.Store(&place)
	return j.turns(c.spec())
}

// notFound adds to the error what the user may have meant.
func (c *runCmd) notFound(err error) error {
	word := c.Command[0]
	if limit := (patience{}); c.Wait.wanted && c.Wait.limit == 0 {
		switch {
		case limit.parse(word) == nil:
			return usage("--wait %[1]s: there is no command %[1]s; to wait that long, use --wait=%[1]s", word)
		case lacksUnit(word):
			return usage("--wait %[1]s: there is no command %[1]s; to wait that many seconds, use --wait=%[1]ss", word)
		}
	}
	switch name, _, assigns := strings.Cut(word, "="); {
	case len(c.Command) == 1 && strings.ContainsAny(word, " \t"):
		return fmt.Errorf("%w; to run that line in a shell, use sh -c %s", err, shellQuote(word))
	case len(c.Command) > 1 && assigns && isVariable(name):
		return fmt.Errorf("%w; to set a variable for the command, use env %s=... %s", err, name, c.Command[1])
	}
	return err
}

func isVariable(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
}

func (c *runCmd) spec() kapi.Spec {
	s := kapi.Spec{
		Description: c.Description, Keys: c.Key,
		ReleaseOnFailure: c.ReleaseOnFailure, DismissFailed: c.DismissFailed,
		LeaveRunning: c.LeaveRunning, Within: supervise.Within(os.Environ()),
	}
	if c.Title != nil {
		s.Title = *c.Title
	} else {
		s.Title = defaultTitle(c.Command[0])
	}
	return s
}

// defaultTitle is the program's base name, as a whole command line may hold secrets.
func defaultTitle(command string) string {
	const longest = 200
	title := []rune(strings.ToValidUTF8(filepath.Base(command), "\uFFFD"))
	return string(title[:min(len(title), longest)])
}
