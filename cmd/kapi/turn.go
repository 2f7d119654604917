package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/kettubot/kapi"
)

// What kapi run does when another action holds a key.

// patience is the value of --wait, which may have a duration.
type patience struct {
	wanted bool
	limit  time.Duration // 0: no limit
}

// IsBool is called by kong: the flag needs no value.
func (*patience) IsBool() bool { return true }

// Decode is called by kong.
func (p *patience) Decode(ctx *kong.DecodeContext) error {
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		p.wanted = true
		return nil
	}
	value := fmt.Sprint(ctx.Scan.Pop().Value)
	if wanted, err := strconv.ParseBool(value); err == nil {
		p.wanted = wanted
		return nil
	}
	return p.parse(value)
}

func (p *patience) parse(value string) error {
	limit, err := parseDuration(value)
	if err != nil {
		return err
	}
	if limit <= 0 {
		return fmt.Errorf("expected a duration above 0, like 10m, but got %q", value)
	}
	*p = patience{true, limit}
	return nil
}

// duration returns the patience for Wait in kapi.Spec.
func (p patience) duration() time.Duration {
	if p.wanted && p.limit == 0 {
		return -1
	}
	return p.limit
}

// takeWait reads "--wait 10m -- CMD" as --wait=10m.
func (c *runCmd) takeWait() {
	if c.Wait.wanted && c.Wait.limit == 0 && len(c.Command) > 2 && c.Command[1] == "--" && c.Wait.parse(c.Command[0]) == nil {
		c.Command = c.Command[1:]
	}
}

// turns runs the command when it is its turn, or follows the action that holds the key.
func (j *job) turns(spec kapi.Spec) error {
	for {
		err := j.do(spec)
		var held *kapi.HeldError
		switch {
		case !errors.As(err, &held) || held.Waited != 0 || held.Circular || spec.Wait != 0:
			return j.over(err)
		case j.Wait.wanted:
			j.remarkf("waiting: %s", j.app.describeHeld(held))
			spec.Wait = j.Wait.duration()
		case j.Join && held.Holder.Status.Active():
			j.remarkf("joining: %s", j.app.describeHeld(held))
			if err := j.join(held.Holder.ID); !errors.Is(err, kapi.ErrUnknown) {
				return j.over(err)
			}
			// It had ended before it could be followed.
		default:
			return j.over(err)
		}
	}
}

// over ends the watch for signals, if the command was not started.
func (j *job) over(err error) error {
	if j.id == "" {
		_ = j.begin()
	}
	var interrupted *interruptedError
	if errors.As(err, &interrupted) {
		return interrupted // without the errors that wrap it
	}
	return err
}

// remarkf prints a message that is no error, on a terminal only: cron would send it by mail.
func (j *job) remarkf(format string, args ...any) {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		j.app.eprintf(format, args...)
	}
}

// join follows another action to its end, and returns what kapi is to end with. That is kapi.ErrUnknown if
// the action has ended already.
func (j *job) join(id string) error {
	w := newWatcher(j.app, ending{j.app}, id)
	w.quiet = true
	for {
		err := w.watch(j.starting, j.place)
		switch {
		case errors.Is(err, kapi.ErrGap):
			continue
		case j.starting.Err() != nil:
			return context.Cause(j.starting)
		}
		return err
	}
}

// ending is a display that shows only how an action failed.
type ending struct{ app *app }

func (ending) begin([]kapi.Action) {}

func (e ending) show(a kapi.Action, settled bool) error {
	if settled && a.Status != kapi.StatusCompleted {
		e.app.eprintf("action %s failed: %s", called(a), stateText(a.State))
	}
	return nil
}

func (ending) end() {}
