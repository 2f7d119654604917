package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/kettubot/kapi"
)

type startCmd struct {
	Name     string   `arg:"" help:"Name of the operation, as kapi operations shows it. With --help, its arguments are described."`
	Arg      []string `sep:"none" placeholder:"NAME=VALUE" help:"An argument of the operation. Lists are JSON, or --arg is repeated; dots lead into objects: --arg node.port=6379. In the variable, line ends separate arguments. Other users can read a command line, and arguments are stored: they must not be secrets."`
	Args     string   `placeholder:"JSON" help:"All arguments, as a JSON object. Each --arg overrides what it has."`
	Wait     patience `placeholder:"DURATION" help:"If a key is held or the operation is at its limit, have the action wait for its turn instead of being refused; with =DURATION, at most that long. kapi doesn't wait for it, except with --follow."`
	Preview  bool     `help:"Print what the operation would do, and start nothing. Only a server in a program that offers the operation can answer."`
	Continue string   `placeholder:"ID" help:"Go on where this failed action of the operation stopped: the new action takes over its arguments, checkpoints and keys."`
	Follow   bool     `help:"Show the action's changes, as kapi watch does, until it has ended. kapi then exits with 0 if it completed, and with 1 if it did not. If it is interrupted, the operation continues."`
}

// Help is called by kong.
func (*startCmd) Help() string {
	return `A program that offers the operation does the work; kapi starts it there, and prints the id of its action. kapi operations lists what there is.

` + exitHelp()
}

// AfterApply is called by kong.
func (c *startCmd) AfterApply(ctx *kong.Context) error {
	if !onTheLine(ctx)["arg"] {
		c.Arg = slices.DeleteFunc(strings.Split(strings.Join(c.Arg, "\n"), "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	}
	switch {
	case c.Args != "" && !isObject(c.Args):
		return errNoObject
	case c.Continue != "" && (len(c.Arg) > 0 || c.Args != ""):
		return usage("--continue takes over the arguments: --arg and --args can't be combined with it")
	case c.Preview && c.Follow:
		return usage("--preview starts nothing that --follow could show")
	case c.Preview && c.Wait.wanted:
		return usage("--preview starts nothing that could wait: omit --wait")
	}
	return nil
}

func (c *startCmd) Run(a *app) error {
	ctx, stop := untilSignal()
	defer stop()
	return a.with(ctx, func(p place) error {
		arguments, err := c.arguments(ctx, p)
		if err != nil {
			return err
		}
		start := func() (kapi.Started, error) {
			started, err := p.StartOperation(ctx, c.Name, arguments, kapi.StartOptions{
				By: me(), Wait: c.Wait.duration(), Continue: c.Continue, Preview: c.Preview,
			})
			switch {
			case errors.Is(err, kapi.ErrNotFailed):
				err = fmt.Errorf("--continue: action %s has not failed", c.Continue)
			case c.Continue != "" && errors.Is(err, kapi.ErrUnknown):
				err = fmt.Errorf("--continue: %s: %w", shownID(c.Continue), err)
			}
			return started, err
		}
		if c.Follow {
			return a.startAndFollow(ctx, p, start)
		}
		started, err := start()
		if err != nil {
			return err
		}
		if started.Preview != nil {
			for _, line := range started.Preview.Lines {
				if err := writeln(a.stdout, "%s", plain(line)); err != nil {
					return err
				}
			}
			return nil
		}
		if started.Action.Status == kapi.StatusPending {
			a.eprintf("%s is pending%s", called(started.Action), lines(reason(started.Action.State)))
		}
		return writeln(a.stdout, "%s", plain(started.Action.ID))
	})
}

// arguments returns the arguments as JSON, nil if none are given.
func (c *startCmd) arguments(ctx context.Context, p place) (json.RawMessage, error) {
	if len(c.Arg) == 0 {
		return json.RawMessage(c.Args), nil
	}
	offer, err := offerOf(ctx, p, c.Name)
	if err != nil {
		return nil, err
	}
	var of *schema
	if offer.Schema != nil {
		of = parseSchema(offer.Schema)
	}
	all, err := newArguments(c.Name, of, c.Args)
	if err != nil {
		return nil, err
	}
	for _, arg := range c.Arg {
		if err := all.add(arg); err != nil {
			return nil, err
		}
	}
	return all.json()
}

// startAndFollow starts an operation and shows its action until it has ended.
func (a *app) startAndFollow(ctx context.Context, p place, start func() (kapi.Started, error)) error {
	_, watch, err := p.follow(ctx) // before the start, as the action may end at once
	if err != nil {
		return err
	}
	defer watch.Close()
	started, err := start()
	if err != nil {
		return err
	}
	w := newWatcher(a, (&watchCmd{}).display(a), started.Action.ID)
	defer w.display.end()
	err = w.show(started.Action)
	if err == nil {
		err = w.rest(ctx, watch)
	}
	if errors.Is(err, kapi.ErrGap) || errors.Is(err, kapi.ErrUnavailable) {
		err = w.until(ctx, p, true)
	}
	var interrupted *interruptedError
	if errors.As(err, &interrupted) {
		interrupted.when = "; the operation continues"
	}
	if end := w.ended[started.Action.ID]; w.waited && end.StartedAt == 0 && end.CancelRequestedAt == 0 && is[exitStatus](err) {
		return exitStatus(exitHeld) // it has waited for its turn in vain
	}
	return err
}

// offerOf returns the operation with that name.
func offerOf(ctx context.Context, p place, name string) (kapi.Offer, error) {
	offers, err := p.Offers(ctx)
	if err != nil {
		return kapi.Offer{}, err
	}
	unknown := &kapi.UnknownOperationError{Name: name}
	for _, o := range offers {
		if o.Name == name {
			return o, nil
		}
		unknown.Known = append(unknown.Known, o.Name)
	}
	return kapi.Offer{}, unknown
}

// explain does what kapi start NAME --help does: it describes an operation.
func (a *app) explain(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return a.with(ctx, func(p place) error {
		offer, err := offerOf(ctx, p, name)
		if err != nil {
			return err
		}
		return describeOffer(a.stdout, offer)
	})
}
