package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// Silence is not death. This file decides what a silent runner means, as a pure
// function of the record and of what a peer watched.

// Evidence is what a peer knows of the runner of an action.
type Evidence struct {
	// Host and PID name the runner.
	Host string
	PID  int
	// HeardAt is the runner's last sign of life (ms, wall clock, for display only).
	HeardAt int64
	// Beat counts the runner's renewals, when this was found out.
	Beat uint64
	// Silent is for how long this peer itself has watched the runner's renewals
	// stand still, by its own monotonic clock.
	Silent time.Duration
	// Lease and GiveUp are the two limits.
	Lease, GiveUp time.Duration
	// Life is what can be proven of the process.
	Life Life
	// Unseen is true for a process that is known to be alive by the lock that it holds, while it can't be
	// looked at from here.
	Unseen bool
	// Working is true if a process is alive that does the runner's work, whatever became of the runner.
	Working bool
	// Stopped is true for a process that is alive but stopped (Ctrl-Z).
	Stopped bool
	// Restarted says that death is proven by the machine having been restarted.
	Restarted bool
	// Remains is what the dead runner left of the action's work.
	Remains Remains
}

// A Life is what can be proven of a process.
type Life int

const (
	LifeUnknown Life = iota // nothing
	LifeAlive               // it exists
	LifeGone                // it does not, and will not again
)

// Remains are what a dead runner may have left.
type Remains struct {
	// Sure are processes of the action's work. Maybe are those that may be.
	Sure, Maybe []Process
	// Hidden says that there may be more, which can't be seen.
	Hidden bool
}

func (r Remains) none() bool { return len(r.Sure) == 0 && len(r.Maybe) == 0 && !r.Hidden }

// A Process is one that is told of to people.
type Process struct {
	PID  int
	Name string
}

// A Verdict is what to do with a silent action: the zero verdict is nothing.
type Verdict struct {
	// Silence marks the action as impacted, and says why.
	Silence string
	// Failure fails the action, and says why.
	Failure string
	// ended is set with Failure when the work is known to have ended.
	ended bool
	// Proven, of an action that was not proven dead, says how its work is known to have ended.
	Proven string
	// blind is set with Silence if nothing is known but that.
	blind bool
}

// Judge decides what the evidence means for an action that is active, or failed and is not proven dead.
func Judge(r *store.Record, ev Evidence) Verdict {
	dead := ev.Life == LifeGone && !ev.Working && (ev.Restarted || ev.Remains.none())
	switch {
	case r.NotProvenDead && dead:
		return Verdict{Proven: ev.death()}
	case !r.Status.Active():
		return Verdict{}
	case dead:
		return Verdict{Failure: "its runner died: " + ev.death(), ended: true}
	case ev.Life == LifeGone && (ev.Working || len(ev.Remains.Sure) > 0):
		return Verdict{Silence: ev.goesOn()}
	case ev.Life == LifeGone:
		return ev.unproven(ev.leftBehind("may still be running: ", ev.Remains.Maybe))
	case ev.Silent < ev.Lease:
		return Verdict{}
	case ev.Life == LifeAlive && ev.Stopped:
		return Verdict{Silence: noWord(ev) + fmt.Sprintf("; process %d is stopped", ev.PID)}
	case ev.Life == LifeAlive && ev.Unseen:
		return Verdict{Silence: noWord(ev) + fmt.Sprintf("; process %d there is alive", ev.PID)}
	case ev.Life == LifeAlive:
		return Verdict{Silence: noWord(ev) + fmt.Sprintf("; process %d is alive", ev.PID)}
	case ev.Working:
		return Verdict{Silence: noWord(ev) + "; what it started is still running"}
	}
	v := ev.unproven(noWord(ev))
	v.blind = v.Silence != ""
	return v
}

// restatedEvery is how often what is said of one silence may change (ms). Peers that see different
// things, as other users or from other PID namespaces, say so in turns. Who sees nothing leaves the
// word to the others for longer.
const (
	restatedEvery      = 5_000
	restatedBlindEvery = 15_000
)

// Replaces reports whether a silence says something new.
func Replaces(r *store.Record, v Verdict, now int64) bool {
	every := int64(restatedEvery)
	if v.blind {
		every = restatedBlindEvery
	}
	return v.Silence != r.Silence && (r.Silence == "" || now-r.UpdatedAt >= every)
}

// unproven is the verdict while nothing is proven: impacted up to the second limit.
func (ev Evidence) unproven(why string) Verdict {
	if ev.Silent < ev.GiveUp {
		return Verdict{Silence: why}
	}
	return Verdict{Failure: cutState(why) + "; " + NotProvenDead}
}

// death says how the runner is known to be dead.
func (ev Evidence) death() string {
	if ev.Restarted {
		return ev.Host + " was restarted"
	}
	return fmt.Sprintf("process %d on %s is gone", ev.PID, ev.Host)
}

// goesOn says what is left of a dead runner for certain.
func (ev Evidence) goesOn() string {
	switch {
	case len(ev.Remains.Sure) > 0:
		return ev.leftBehind("still running: ", ev.Remains.Sure)
	case len(ev.Remains.Maybe) > 0:
		return ev.leftBehind("still running, probably: ", ev.Remains.Maybe)
	}
	return cutState(fmt.Sprintf("its runner (process %d on %s) is gone; what it started is still running", ev.PID, ev.Host))
}

func (ev Evidence) leftBehind(how string, left []Process) string {
	if len(left) == 0 {
		how, left = "what it started may still be running, and can't be seen from here", nil
	}
	return cutState(fmt.Sprintf("its runner (process %d on %s) is gone; %s%s", ev.PID, ev.Host, how, NameProcesses(left)))
}

// applyVerdict applies a verdict to the newest version of the record.
func applyVerdict(r *store.Record, v Verdict, now int64) error {
	switch {
	case v.Proven != "" && r.Status == kapi.StatusFailed && r.NotProvenDead:
		proveEnded(r, v.Proven, now)
		return nil
	case !r.Status.Active():
		return errUnchanged
	case v.Failure != "" && r.Queued():
		withdraw(r, &v.Failure, now) // it never began, so nobody has to look first
		return nil
	case v.Failure != "":
		moveTo(r, kapi.StatusFailed, now)
		if r.State != "" {
			v.Failure += "; it last said: " + r.State
		}
		r.State = cutState(v.Failure)
		r.NotProvenDead = !v.ended
		releaseIfDeclared(r)
	case v.Silence != "" && Replaces(r, v, now):
		r.Silence = v.Silence
		if r.Queued() && !r.Waiting() { // what it has not begun with, others can have
			r.Waits, r.Keys = r.Keys, nil
		}
	default:
		return errUnchanged
	}
	touch(r, now, false)
	return nil
}

// proveEnded takes back that the action was not proven dead: what it was declared to do when it
// fails is done now.
func proveEnded(r *store.Record, how string, now int64) {
	r.NotProvenDead = false
	r.State = cutState(fmt.Sprintf("its work is known to have ended: %s; before that: %s", how, r.State))
	releaseIfDeclared(r)
	touch(r, now, false)
}

func noWord(ev Evidence) string {
	return fmt.Sprintf("no word from %s since %s", ev.Host, time.UnixMilli(ev.HeardAt).UTC().Format(time.RFC3339))
}

// NameProcesses lists processes for people.
func NameProcesses(all []Process) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = fmt.Sprintf("%d (%s)", p.PID, p.Name)
	}
	return strings.Join(names, ", ")
}

// SilentAt returns for how long a runner was watched to be silent, by a peer that looks now and
// finds it as it was. Between two looks at most one lease counts, and nothing if the machine
// slept.
func SilentAt(o store.Observation, sinceBoot, awake, lease time.Duration) time.Duration {
	const jitter = time.Second // of two clocks that are read one after the other
	went, slept := sinceBoot-o.SinceBoot, (sinceBoot-o.SinceBoot)-(awake-o.Awake)
	if went < 0 || slept > jitter {
		return o.Silent
	}
	return o.Silent + min(went, lease)
}
