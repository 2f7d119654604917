package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// Silence is not death. This file decides what the silence of a runner means, as a pure function of
// the record and of what a peer has observed.

// Evidence is what a peer knows of the runner of an action.
type Evidence struct {
	// Host and PID name the runner.
	Host string
	PID  int
	// HeardAt is the runner's last sign of life (ms, wall clock, for display only).
	HeardAt int64
	// Beat is the count of the runner's renewals at the time of this evidence.
	Beat uint64
	// Silent is how long the runner was watched without renewing its lease, by a monotonic clock.
	Silent time.Duration
	// Lease and GiveUp are the two limits of silence.
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
	// Restarted says that a restart of the machine proves the death.
	Restarted bool
	// Remains is what the dead runner left of the action's work.
	Remains Remains
}

// A Life is what can be proven of a process.
type Life int

const (
	LifeUnknown Life = iota // nothing is known
	LifeAlive               // the process exists
	LifeGone                // the process has ended
)

// Remains are the processes that a dead runner may have left.
type Remains struct {
	// Sure are processes of the action's work. Maybe are processes that may be.
	Sure, Maybe []Process
	// Hidden says that there may be more that can't be seen.
	Hidden bool
	// Starting says that those in Maybe are about to execute a program, all of them. Then they can be told apart.
	Starting bool
}

func (r Remains) none() bool { return len(r.Sure) == 0 && len(r.Maybe) == 0 && !r.Hidden }

// A Process is how a process is named to people.
type Process struct {
	PID  int
	Name string
}

// A Verdict says what to do with a silent action. The zero Verdict changes nothing.
type Verdict struct {
	// Silence, if set, makes the action impacted, and says why.
	Silence string
	// Failure, if set, fails the action, and says why.
	Failure string
	// ended is set with Failure when the work is known to have ended.
	ended bool
	// cause is set with Failure if another runner may continue the action. It says what is known of the last one.
	cause string
	// Proven says how the work of an action that was not proven dead is now known to have ended.
	Proven string
	// blind is set with Silence if nothing else is known, or not yet.
	blind bool
}

// Judge decides what the evidence means for an action that is active, or that failed and is not proven
// dead.
func Judge(r *store.Record, ev Evidence) Verdict {
	dead := ev.Life == LifeGone && !ev.Working && (ev.Restarted || ev.Remains.none())
	switch {
	case r.NotProvenDead && dead:
		return Verdict{Proven: ev.death()}
	case !r.Status.Active():
		return Verdict{}
	case dead:
		return Verdict{Failure: "its runner died: " + ev.death(), ended: true, cause: ev.death()}
	case ev.Life == LifeGone && (ev.Working || len(ev.Remains.Sure) > 0):
		return Verdict{Silence: ev.goesOn()}
	case ev.Life == LifeGone && ev.Remains.Starting && ev.Silent < ev.Lease:
		return Verdict{} // the next look tells more
	case ev.Life == LifeGone:
		v := ev.unproven(ev.leftBehind("may still be running: ", ev.Remains.Maybe))
		v.blind = ev.Remains.Starting && v.Silence != ""
		return v
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
	if v.blind = v.Silence != ""; !v.blind && ev.Remains.none() {
		v.cause = noWord(ev)
	}
	return v
}

// restatedEvery limits how often the text about one silence may change, in milliseconds. Peers that see
// different things, as other users or from other PID namespaces, would otherwise keep replacing each
// other's. A peer that sees nothing waits longer, for restatedBlindEvery.
const (
	restatedEvery      = 5_000
	restatedBlindEvery = 15_000
)

// Replaces reports whether the verdict's Silence is to replace that of the record: it is another one, and the
// record's is empty or old enough.
func Replaces(r *store.Record, v Verdict, now int64) bool {
	every := int64(restatedEvery)
	if v.blind {
		every = restatedBlindEvery
	}
	return v.Silence != r.Silence && (r.Silence == "" || now-r.UpdatedAt >= every)
}

// unproven returns the verdict while nothing is proven: impacted, and failed past the second limit.
func (ev Evidence) unproven(why string) Verdict {
	if ev.Silent < ev.GiveUp {
		return Verdict{Silence: why}
	}
	return Verdict{Failure: cutState(why) + "; " + NotProvenDead}
}

// death says why the runner is known to be dead.
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

// applyVerdict applies a verdict to the newest version of the record, except that another runner may go on (see
// mayVacate).
func applyVerdict(r *store.Record, v Verdict, now int64) error {
	switch {
	case v.Proven != "" && r.Status == kapi.StatusFailed && r.NotProvenDead:
		proveEnded(r, v.Proven, now)
		return nil
	case !r.Status.Active():
		return errUnchanged
	case v.Failure != "" && r.Queued():
		withdraw(r, &v.Failure, now) // it never began, so there is nothing to inspect
		return nil
	case v.Failure != "":
		said := r.State
		if r.Defined != nil && r.Defined.Parked {
			said = r.Defined.Said
		}
		moveTo(r, kapi.StatusFailed, now)
		if said != "" {
			v.Failure += "; it last said: " + said
		}
		r.State = cutState(v.Failure)
		r.NotProvenDead = !v.ended
		release(r)
	case v.Silence != "" && Replaces(r, v, now):
		r.Silence = v.Silence
		if r.Queued() && !r.Waiting() && !hasInherited(r) { // it has its keys but has not begun: others may have them
			queueFor(r, needOf(r))
		}
	default:
		return errUnchanged
	}
	touch(r, now, false)
	return nil
}

// proveEnded clears NotProvenDead, and frees the keys now if the action was declared to release them on
// failure.
func proveEnded(r *store.Record, how string, now int64) {
	r.NotProvenDead = false
	r.State = cutState(fmt.Sprintf("its work is known to have ended: %s; before that: %s", how, r.State))
	release(r)
	touch(r, now, false)
}

func noWord(ev Evidence) string {
	return fmt.Sprintf("no word from %s since %s", ev.Host, time.UnixMilli(ev.HeardAt).UTC().Format(time.RFC3339))
}

// NameProcesses lists processes for people, as in "12 (make), 15 (cc)".
func NameProcesses(all []Process) string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = fmt.Sprintf("%d (%s)", p.PID, p.Name)
	}
	return strings.Join(names, ", ")
}

// SilentAt returns how long a runner has been silent while watched, given the last observation and a
// look now that finds no renewal since. sinceBoot and awake are what the two clocks read now: the one that
// counts the time asleep, and the one that doesn't. Between two looks at most one lease counts, and nothing
// if the machine slept.
func SilentAt(o store.Observation, sinceBoot, awake, lease time.Duration) time.Duration {
	const jitter = time.Second // the two clocks are read one after the other
	went, slept := sinceBoot-o.SinceBoot, (sinceBoot-o.SinceBoot)-(awake-o.Awake)
	if went < 0 || slept > jitter {
		return o.Silent
	}
	return o.Silent + min(went, lease)
}
