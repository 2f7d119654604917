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
	Key              []string `sep:"none" placeholder:"KEY" help:"Key to hold, so that nothing else that wants it runs meanwhile. May be repeated; as a variable, with spaces between."`
	Title            *string  `help:"Title of the action. The default is the program's base name."`
	Description      string   `help:"Description of the action."`
	ReleaseOnFailure bool     `help:"Free the keys even if the command fails: for commands that are safe to repeat."`
	DismissFailed    bool     `help:"Dismiss failed actions that hold the same keys, if their work is known to have ended."`

	Wait patience `placeholder:"DURATION" help:"If a key is held, wait until it is this command's turn; with =DURATION, for that long at most."`
	Join bool     `help:"If a key is held, follow the action that holds it to its end instead, and exit as that does."`

	Progress string  `placeholder:"REGEXP" help:"How to read progress from the command's output: named groups percent, or done and total, and state. With --total, done or the one group is counted against that, or the matches if there is no group."`
	Total    float64 `placeholder:"N" help:"What --progress counts against."`
	TTY      *bool   `name:"tty" negatable:"" help:"Give the command a pseudo-terminal for its output. The default is to where its output goes to one, --no-tty to never."`

	Timeout      time.Duration `placeholder:"DURATION" help:"Stop the command after this long; kapi then exits with 124. 0 is off (the default)."`
	Grace        time.Duration `default:"10s" placeholder:"DURATION" help:"How long the command may take to end once it is asked to, before it is killed; 0 is off: it is killed at once (default: ${default})."`
	Stall        time.Duration `placeholder:"DURATION" help:"Show the action as impacted while neither its progress nor its state has moved for this long; 0 is off (the default)."`
	LeaveRunning bool          `help:"If kapi run itself is killed, leave running what the command has started, instead of asking it to end. Its output is not looked at then."`

	PassToken bool `help:"Let the command have the token, in $KAPI_TOKEN: a kapi inside it needs that, if it is to use the same server."`

	EndTimeout time.Duration `default:"10m" placeholder:"DURATION" help:"For how long the end of the command is tried to be recorded, if store or server can't be reached then; 0 is off: without end (default: ${default})."`

	Command []string `arg:"" passthrough:"partial" name:"command" help:"The command and its arguments, best behind --."`

	pattern *progress.Pattern
}

// Help is called by kong.
func (c *runCmd) Help() string {
	return `In full: kapi run [flags] -- CMD [ARG...]. What stands behind CMD is its own.

CMD's output and signals pass through. How far it is, is taken from what it says: to $KAPI_NOTIFY (systemd's notify protocol), in the terminal's progress escape, as --progress tells, or from a percentage on lines that are alike. It finds its action in $KAPI_ACTION and $KAPI_FENCE, and those around it in $KAPI_WITHIN. The action ends when every process that CMD started has ended, and fails if CMD did; its state then has the exit status or the signal, and the last line of stderr.

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
		return usage("--wait and --join exclude each other")
	}
	return c.checkProgress()
}

func (c *runCmd) checkProgress() (err error) {
	switch {
	case c.TTY == nil || !*c.TTY:
	case !supervise.HasTerminals:
		return usage("--tty: this system has no pseudo-terminals")
	case c.LeaveRunning:
		return usage("--tty and --leave-running exclude each other: the command has kapi's own output then")
	}
	if c.Progress == "" {
		if c.Total != 0 {
			return usage("--total needs --progress")
		}
		return nil
	}
	if c.LeaveRunning {
		return usage("--progress and --leave-running exclude each other: the output is not looked at")
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
	noThreads := reserved() // they are made meanwhile
	if err != nil {
		return cmp.Or(j.begin(), noThreads, err)
	}
	defer j.tracking.Wait() // it may wait for the store
	defer j.place.close()
	if noThreads != nil {
		return cmp.Or(j.begin(), noThreads)
	}
	place := j.place.quiesce
	j.quiesce.Store(&place)
	return j.turns(c.spec())
}

// notFound says what was meant by a command that can't be found.
func (c *runCmd) notFound(err error) error {
	word := c.Command[0]
	if limit := (patience{}); c.Wait.wanted && c.Wait.limit == 0 {
		switch {
		case limit.parse(word) == nil:
			return usage("--wait %[1]s: a command %[1]s is not there; to wait that long, say --wait=%[1]s", word)
		case lacksUnit(word):
			return usage("--wait %[1]s: a command %[1]s is not there; to wait so many seconds, say --wait=%[1]ss", word)
		}
	}
	switch name, _, assigns := strings.Cut(word, "="); {
	case len(c.Command) == 1 && strings.ContainsAny(word, " \t"):
		return fmt.Errorf("%w; to have a shell read that line, say sh -c %s", err, shellQuote(word))
	case len(c.Command) > 1 && assigns && isVariable(name):
		return fmt.Errorf("%w; to set a variable for the command, say env %s=... %s", err, name, c.Command[1])
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

// defaultTitle is the program's base name: a whole command line may hold secrets.
func defaultTitle(command string) string {
	const longest = 200
	title := []rune(strings.ToValidUTF8(filepath.Base(command), "\uFFFD"))
	return string(title[:min(len(title), longest)])
}
