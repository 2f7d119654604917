package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kettubot/kapi"
)

type watchCmd struct {
	IDs  []string `arg:"" optional:"" name:"id" help:"Ids of the actions to watch until they have ended. kapi exits with the code of the first of them that did not succeed. Without ids, it watches all actions until it is interrupted."`
	JSON bool     `name:"json" help:"Print the wire form, as one JSON object per line."`
}

func (c *watchCmd) Run(a *app) error {
	ctx, stop := untilSignal()
	defer stop()
	return a.with(ctx, func(p place) error {
		w := newWatcher(a, c.display(a), c.IDs...)
		defer w.display.end()
		return w.until(ctx, p, false)
	})
}

// A display shows the changes of actions.
type display interface {
	// begin is called with the ongoing actions. Those that are new or have changed are shown next.
	begin(ongoing []kapi.Action)
	// show shows an action after a change. settled is true if no further change of it will be shown.
	show(a kapi.Action, settled bool) error
	end()
}

func (c *watchCmd) display(a *app) display {
	if terminal := canDraw(a.stdout); terminal != nil && !c.JSON {
		return newBars(terminal)
	}
	return &printed{out: a.stdout, json: c.JSON}
}

// printed is a display that prints one line per change.
type printed struct {
	out  io.Writer
	json bool
}

func (l *printed) begin([]kapi.Action) {}

func (l *printed) show(a kapi.Action, _ bool) error {
	if l.json {
		return writeJSON(l.out, a)
	}
	return writeln(l.out, "%s", changeLine(a))
}

func (l *printed) end() {}

// untilSignal returns a context that SIGINT or SIGTERM ends, and a function that releases it.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case sig := <-c:
			number, _ := sig.(syscall.Signal)
			cancel(&interruptedError{signal: number})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(c)
		cancel(nil)
		<-done
	}
}

// A watcher shows the changes of actions, across gaps in the feed.
type watcher struct {
	app     *app
	display display
	ids     []string          // empty: all
	chosen  map[string]bool   // ids as a set
	seen    map[string]uint64 // by id, the seq last shown of each action that has not ended
	ended   map[string]kapi.Action
	quiet   bool // don't print that the id is unknown
	waited  bool // the last action shown waited for its turn when it was last pending
}

func newWatcher(a *app, d display, ids ...string) *watcher {
	w := &watcher{app: a, display: d, ended: map[string]kapi.Action{}, seen: map[string]uint64{}, chosen: map[string]bool{}}
	for _, id := range ids {
		if !w.chosen[id] {
			w.ids, w.chosen[id] = append(w.ids, id), true
		}
	}
	return w
}

// until watches until all of ids have ended. It outlasts an outage if the watch has begun.
func (w *watcher) until(ctx context.Context, p place, begun bool) error {
	for {
		err := w.watch(ctx, p)
		switch {
		case errors.Is(err, kapi.ErrGap):
			begun = true
			continue
		case !begun || !errors.Is(err, kapi.ErrUnavailable):
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *watcher) watch(ctx context.Context, p place) error {
	now, watch, err := p.follow(ctx)
	if err != nil {
		return err
	}
	defer watch.Close()
	ongoing := seqs(now)
	if err := w.missed(ongoing); err != nil {
		return err
	}
	if err := w.check(ongoing); err != nil {
		return err
	}
	w.display.begin(now)
	slices.SortFunc(now, func(a, b kapi.Action) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, action := range now {
		if w.seen[action.ID] == action.Seq {
			continue
		}
		if err := w.show(action); err != nil {
			return err
		}
	}
	return w.rest(ctx, watch)
}

// rest shows changes until all of ids have ended, and returns how.
func (w *watcher) rest(ctx context.Context, watch changes) error {
	for len(w.ids) == 0 || len(w.ended) < len(w.ids) {
		action, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		if action.Seq <= w.seen[action.ID] {
			continue
		}
		if err := w.show(action); err != nil {
			return err
		}
	}
	return w.outcome()
}

// seqs returns the seqs of actions, by id.
func seqs(actions []kapi.Action) map[string]uint64 {
	all := make(map[string]uint64, len(actions))
	for i := range actions {
		all[actions[i].ID] = actions[i].Seq
	}
	return all
}

// errMissed is for an action that ended during a gap in the feed.
var errMissed = errors.New("it ended while changes were missed, so how it ended is not known")

// missed finds the actions that have ended during a gap in the feed. It returns an error for one of ids, and
// prints the others.
func (w *watcher) missed(ongoing map[string]uint64) (err error) {
	for id := range w.seen {
		if _, ok := ongoing[id]; ok {
			continue
		}
		delete(w.seen, id)
		if w.chosen[id] {
			err = fmt.Errorf("action %s: %w", id, errMissed)
		} else if len(w.ids) == 0 {
			w.app.eprintf("action %s: %v", id, errMissed)
		}
	}
	return err
}

// check returns an error if an action to watch is unknown, as its end would never come.
func (w *watcher) check(ongoing map[string]uint64) error {
	if w.quiet && len(w.ended) == 0 && ongoing[w.ids[0]] == 0 {
		return kapi.ErrUnknown
	}
	return w.app.each(w.ids, func(id string) error {
		_, known := w.ended[id]
		if known || ongoing[id] != 0 {
			return nil
		}
		return kapi.ErrUnknown
	})
}

func (w *watcher) show(action kapi.Action) error {
	w.seen[action.ID] = action.Seq
	if action.Status == kapi.StatusPending {
		w.waited = action.WaitsFor != nil && (action.WaitsFor.Key != "" || action.WaitsFor.Action != "")
	}
	settled := !action.Status.Ongoing()
	if settled {
		delete(w.seen, action.ID)
	}
	if len(w.ids) > 0 {
		_, over := w.ended[action.ID] // it failed, and was dismissed later
		if over || !w.chosen[action.ID] {
			return nil
		}
		if !action.Status.Active() {
			settled = true
			delete(w.seen, action.ID)
			w.ended[action.ID] = action
		}
	}
	return w.display.show(action, settled)
}

func changeLine(action kapi.Action) string {
	parts := []string{localTime(action.UpdatedAt), plain(action.ID), action.Status.String()}
	if p := progressText(action.Progress); p != "" {
		parts = append(parts, p)
	}
	parts = append(parts, plain(action.Title))
	line := strings.Join(parts, " ")
	if text := saying(action); text != "" {
		line += ": " + text
	}
	return line
}

// outcome returns the exit status of the first action, in the order of ids, that did not succeed.
func (w *watcher) outcome() error {
	for _, id := range w.ids {
		action := w.ended[id]
		switch {
		case action.ExitCode != nil && *action.ExitCode != 0:
			return exitStatus(*action.ExitCode)
		case action.Status != kapi.StatusCompleted:
			return exitStatus(exitOther)
		}
	}
	return nil
}
