package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/kettubot/kapi/internal/backoff"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/supervise"
)

// How kapi run records what it started, so that it is recognised if kapi itself is killed.

// A recorder records the processes of one command.
type recorder struct {
	app    *app
	place  place
	action string
	nonce  string
	work   proc.Work // zero: nothing could be recorded
}

func (j *job) recorder() *recorder {
	return &recorder{app: j.app, place: j.place, action: j.id, nonce: j.nonce}
}

// begin records the command's process.
func (r *recorder) begin(pid int) {
	var around []proc.Mark
	for _, nonce := range supervise.Nonces(os.Environ()) {
		around = append(around, proc.MarkOf(nonce))
	}
	work, err := proc.Describe(pid, proc.MarkOf(r.nonce), around)
	if err == nil {
		r.work = work // what the store can't take now goes along with the next renewal
		err = r.place.recordWork(context.Background(), r.action, work)
	}
	if errors.Is(err, errors.ErrUnsupported) { // a server hears of our death by the connection, or not at all
		r.work = proc.Work{}
		return
	}
	if err := proc.Unproven(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		r.app.eprintf("if kapi is killed, that is noticed by its silence alone, which takes minutes: %v", err)
	}
	if err != nil {
		r.app.eprintf("if kapi is killed, what is left of the command may not be recognised: %v", err)
	}
}

// Looks for process groups and sessions that the command has made: a program run by sudo on a
// terminal has a session of its own, and lacks the nonce.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 5 * time.Second
)

// recordGroups records what groups and sessions the command makes, until ctx ends. It costs as much as the
// command has processes.
func (r *recorder) recordGroups(ctx context.Context) {
	if r.work.Root.PID == 0 {
		return
	}
	for pauses := backoff.New(firstLook, lastLook); ; {
		select {
		case <-time.After(pauses.Next()):
		case <-ctx.Done():
			return
		}
		groups, sessions, err := proc.Kin(r.work.Root)
		if err == nil && r.work.Merge(groups, sessions) {
			_ = r.place.recordWork(ctx, r.action, r.work) // else it goes along with the next renewal
		}
	}
}
