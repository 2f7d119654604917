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

// How kapi run records its command's processes, so that they are recognised if kapi itself is killed.

// A recorder records the processes of one command.
type recorder struct {
	app    *app
	place  place
	action string
	nonce  string
	work   proc.Work // zero if nothing could be recorded
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
		r.work = work // if the store can't take it now, the next renewal brings it along
		err = r.place.recordWork(context.Background(), r.action, work)
	}
	if errors.Is(err, errors.ErrUnsupported) { // a server learns of our death from the connection, or not at all
		r.work = proc.Work{}
		return
	}
	if err := proc.Unproven(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		r.app.eprintf("if kapi is killed, that is noticed only after minutes of silence: %v", err)
	}
	if err != nil {
		r.app.eprintf("if kapi is killed, the processes that the command leaves may not be recognised: %v", err)
	}
}

// The pauses between looks for new process groups and sessions of the command. They grow while there are none, because
// in a crowd of commands each look counts, although those at a command that sleeps cost little. A program run by sudo on
// a terminal has a session of its own, and lacks the nonce.
const (
	firstLook = 100 * time.Millisecond
	lastLook  = 15 * time.Second
)

// recordGroups records the process groups and sessions that the command creates, until ctx ends. Its cost
// grows with the number of processes of the command, and with how often they run.
func (r *recorder) recordGroups(ctx context.Context) {
	if r.work.Root.PID == 0 {
		return
	}
	kin := proc.NewKin(r.work.Root)
	for pauses := backoff.New(firstLook, lastLook); ; {
		select {
		case <-time.After(pauses.Next()):
		case <-ctx.Done():
			return
		}
		groups, sessions, err := kin.Look()
		if err == nil && r.work.Merge(groups, sessions) {
			pauses.Reset()
			_ = r.place.recordWork(ctx, r.action, r.work) // if that fails, the next renewal brings it along
		}
	}
}
