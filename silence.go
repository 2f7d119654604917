package kapi

import (
	"fmt"
	"strings"
	"time"
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
	life life
	// stopped is true for a process that is alive but stopped (Ctrl-Z).
	stopped bool
	// restarted says that death is proven by the machine having been restarted.
	restarted bool
	// remains is what the dead runner left of the action's work.
	remains remains
}

// A life is what can be proven of a process.
type life int

const (
	lifeUnknown life = iota
	lifeAlive
	lifeGone
)

// Remains are what a dead runner may have left.
type remains struct {
	// sure are processes of the action's work. maybe are those that may be.
	sure, maybe []process
	// hidden says that there may be more, which can't be seen.
	hidden bool
}

func (r remains) none() bool { return len(r.sure) == 0 && len(r.maybe) == 0 && !r.hidden }

// A process is one that is told of to people.
type process struct {
	pid  int
	name string
}

// A verdict is what to do with a silent action: the zero verdict is nothing.
type verdict struct {
	// silence marks the action as impacted, and says why.
	silence string
	// failure fails the action, and says why.
	failure string
	// ended is set with failure when the work is known to have ended.
	ended bool
	// proven, of an action that was given up, says how its work is known to have ended.
	proven string
	// blind is set with silence if nothing is known but that.
	blind bool
}

// judge decides what the evidence means for an action that is active, or was given up.
func judge(r *Record, ev evidence) verdict {
	dead := ev.life == lifeGone && (ev.restarted || ev.remains.none())
	switch {
	case r.workMayGoOn() && dead:
		return verdict{proven: ev.death()}
	case !r.Status.Active():
		return verdict{}
	case dead:
		return verdict{failure: "its runner died: " + ev.death(), ended: true}
	case ev.life == lifeGone && len(ev.remains.sure) > 0:
		return verdict{silence: ev.leftBehind("still running: ", ev.remains.sure)}
	case ev.life == lifeGone:
		return ev.unproven(ev.leftBehind("may still be running: ", ev.remains.maybe))
	case ev.silent < ev.lease:
		return verdict{}
	case ev.life == lifeAlive && ev.stopped:
		return verdict{silence: noWord(ev) + fmt.Sprintf("; process %d is stopped", ev.pid)}
	case ev.life == lifeAlive:
		return verdict{silence: noWord(ev) + fmt.Sprintf("; process %d is alive", ev.pid)}
	}
	v := ev.unproven(noWord(ev))
	v.blind = v.silence != ""
	return v
}

// restatedEvery is how often what is said of one silence may change (ms). Peers that see different
// things, as other users or from other PID namespaces, say so in turns. Who sees nothing leaves the
// word to the others for longer.
const (
	restatedEvery      = 5_000
	restatedBlindEvery = 15_000
)

// replaces reports whether a silence says something new.
func replaces(r *Record, v verdict, now int64) bool {
	every := int64(restatedEvery)
	if v.blind {
		every = restatedBlindEvery
	}
	return v.silence != r.Silence && (r.Silence == "" || now-r.UpdatedAt >= every)
}

// unproven is the verdict while nothing is proven: impacted up to the second limit.
func (ev evidence) unproven(why string) verdict {
	if ev.silent < ev.giveUp {
		return verdict{silence: why}
	}
	return verdict{failure: cutState(why) + "; " + notProvenDead}
}

// death says how the runner is known to be dead.
func (ev evidence) death() string {
	if ev.restarted {
		return ev.host + " was restarted"
	}
	return fmt.Sprintf("process %d on %s is gone", ev.pid, ev.host)
}

func (ev evidence) leftBehind(how string, left []process) string {
	if len(left) == 0 {
		how, left = "what it started may still be running, and can't be seen from here", nil
	}
	return cutState(fmt.Sprintf("its runner (process %d on %s) is gone; %s%s", ev.pid, ev.host, how, nameProcesses(left)))
}

// notProvenDead is in the state of an action that failed while its work may have gone on, for
// people. Action.NotProvenDead is for programs.
const notProvenDead = "not proven dead"

// applyVerdict applies a verdict to the newest version of the record.
func applyVerdict(r *Record, v verdict, now int64) error {
	switch {
	case v.proven != "" && r.workMayGoOn():
		proveEnded(r, v.proven, now)
		return nil
	case !r.Status.Active():
		return errUnchanged
	case v.failure != "" && r.queued():
		giveUp(r, &v.failure, now) // it never began, so nobody has to look first
		return nil
	case v.failure != "":
		moveTo(r, StatusFailed, now)
		if r.State != "" {
			v.failure += "; it last said: " + r.State
		}
		r.State = cutState(v.failure)
		r.GivenUp = !v.ended
		releaseIfDeclared(r)
	case v.silence != "" && replaces(r, v, now):
		r.Silence = v.silence
		if r.queued() && !r.waiting() { // what it has not begun with, others can have
			r.Waits, r.Keys = r.Keys, nil
		}
	default:
		return errUnchanged
	}
	touch(r, now, false)
	return nil
}

// proveEnded takes back that the work may go on: what the action was declared to do when it
// fails is done now.
func proveEnded(r *Record, how string, now int64) {
	r.GivenUp = false
	r.State = cutState(fmt.Sprintf("its work is known to have ended: %s; before that: %s", how, r.State))
	releaseIfDeclared(r)
	touch(r, now, false)
}

// releaseIfDeclared frees the keys of a failed action that was declared to do so, if its work is
// known to have ended.
func releaseIfDeclared(r *Record) {
	if r.ReleaseOnFailure && !r.GivenUp {
		r.Keys = nil
	}
}

func noWord(ev evidence) string {
	return fmt.Sprintf("no word from %s since %s", ev.host, time.UnixMilli(ev.heardAt).UTC().Format(time.RFC3339))
}

func nameProcesses(all []process) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = fmt.Sprintf("%d (%s)", p.pid, p.name)
	}
	return strings.Join(names, ", ")
}
