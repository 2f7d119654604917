package kapi

import (
	"fmt"
	"strings"
	"time"

	"github.com/kettubot/kapi/internal/proc"
)

// Silence is not death. This file decides what a silent runner means, as a pure
// function of the record and of what a peer watched.

// evidence is what a peer knows of the runner of an action.
type evidence struct {
	// host and pid name the runner.
	host string
	pid  int
	// heardAt is the runner's last sign of life (ms, wall clock, for display only).
	heardAt int64
	// beat counts the runner's renewals, when this was found out.
	beat uint64
	// silent is for how long this peer itself has watched the runner's renewals
	// stand still, by its own monotonic clock.
	silent time.Duration
	// lease and giveUp are the two limits.
	lease, giveUp time.Duration
	// life is what can be proven of the process.
	life proc.Life
	// stopped is true for a process that is alive but stopped (Ctrl-Z).
	stopped bool
	// restarted says that death is proven by the machine having been restarted.
	restarted bool
	// survivors are processes that the dead runner started for the action and that
	// are still there.
	survivors []proc.Process
}

// A verdict is what to do with a silent action: the zero verdict is nothing.
type verdict struct {
	// silence marks the action as impacted, and says why.
	silence string
	// failure fails the action, and says why.
	failure string
	// ended is set with failure when the work is known to have ended.
	ended bool
}

// judge decides what the evidence means for an active action.
func judge(r *Record, ev evidence) verdict {
	if !r.Status.Active() {
		return verdict{}
	}
	switch {
	case ev.life == proc.Gone && len(ev.survivors) > 0:
		return verdict{silence: cutState(fmt.Sprintf("its runner (process %d on %s) is gone; still running: %s",
			ev.pid, ev.host, nameProcesses(ev.survivors)))}
	case ev.life == proc.Gone && ev.restarted:
		return verdict{failure: fmt.Sprintf("its runner died: %s was restarted", ev.host), ended: true}
	case ev.life == proc.Gone:
		return verdict{failure: fmt.Sprintf("its runner died: process %d on %s is gone", ev.pid, ev.host), ended: true}
	case ev.silent < ev.lease:
		return verdict{}
	case ev.life == proc.Alive && ev.stopped:
		return verdict{silence: noWord(ev) + fmt.Sprintf("; process %d is stopped", ev.pid)}
	case ev.life == proc.Alive:
		return verdict{silence: noWord(ev) + fmt.Sprintf("; process %d is alive", ev.pid)}
	case ev.silent < ev.giveUp:
		return verdict{silence: noWord(ev)}
	default:
		return verdict{failure: noWord(ev) + "; " + notProvenDead}
	}
}

// notProvenDead is in the state of an action that failed while its work may have gone on.
const notProvenDead = "not proven dead"

// NotProvenDead reports whether the action failed for silence, or because its peer was closed
// before it had ended, so that its work may still be going on. Its state says so.
func (a *Action) NotProvenDead() bool {
	return !a.Status.Active() && strings.Contains(a.State, notProvenDead)
}

// accept applies a verdict to the newest version of the record.
func (r *Record) accept(v verdict, now int64) error {
	switch {
	case !r.Status.Active():
		return errUnchanged
	case v.failure != "" && r.queued():
		r.giveUp(&v.failure, now) // it never began, so nobody has to look first
		return nil
	case v.failure != "":
		r.moveTo(StatusFailed, now)
		if r.State != "" {
			v.failure += "; it last said: " + r.State
		}
		r.State = cutState(v.failure)
		r.GivenUp = !v.ended
		if v.ended && r.ReleaseOnFailure {
			r.Keys = nil
		}
	case v.silence != "" && v.silence != r.Silence:
		r.Silence = v.silence
		if r.queued() && !r.waiting() { // what it has not begun with, others can have
			r.Waits, r.Keys = r.Keys, nil
		}
	default:
		return errUnchanged
	}
	r.touch(now, false)
	return nil
}

func noWord(ev evidence) string {
	return fmt.Sprintf("no word from %s since %s", ev.host, time.UnixMilli(ev.heardAt).UTC().Format(time.RFC3339))
}

func nameProcesses(all []proc.Process) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = fmt.Sprintf("%d (%s)", p.PID, p.Name)
	}
	return strings.Join(names, ", ")
}
