package peer

import (
	"encoding/json"
	"slices"
	"syscall"
	"time"

	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// How a peer finds out what can be proven of runners and of what they started.

// A runnerWork is what a runner records of the processes that do its work, by action.
type runnerWork map[string]proc.Work

// workOf reads RunnerRecord.Work. What is not of kapi's form says nothing.
func workOf(r *store.RunnerRecord) (work runnerWork) {
	if r.Work == "" || json.Unmarshal([]byte(r.Work), &work) != nil {
		return nil
	}
	return work
}

// of returns what is recorded of an action's processes, or of those of any action of this runner.
func (w runnerWork) of(id string) (work proc.Work, ok bool) {
	if work, ok = w[id]; !ok {
		work, ok = w[anyAction]
	}
	return work, ok
}

// anyAction stands in a runnerWork for the actions that are not in it.
const anyAction = ""

// judgeAll judges actions of other runners: one look at each runner, one at the processes of
// this machine for all of the dead ones, and one transaction for all verdicts. The error says
// that the store can't be read or written now.
func (s *sweeper) judgeAll(w *watching, entries []*entry) error {
	if len(entries) == 0 {
		return nil
	}
	runners, err := s.readRunners(entries)
	if err != nil {
		return err
	}
	known, err := s.examineAll(w, entries, runners)
	if err != nil {
		return err
	}
	if err := s.remember(w, known); err != nil {
		return err
	}
	entries, err = s.settleDead(entries, known)
	if err != nil {
		return err
	}
	var verdicts []*pronounced
	for _, e := range entries {
		x := known[e.Runner.ID]
		ev := x.Evidence
		var left proc.Remains
		if x.table != nil {
			left = x.remains(e.ID)
			ev.Remains = rules.Remains{Sure: processes(left.Sure), Maybe: processes(left.Maybe), Hidden: left.Hidden}
		}
		if v := verdictOn(e, ev, left.Sure); v != nil {
			verdicts = append(verdicts, v)
		}
		if len(left.Sure) == 0 {
			delete(s.asked, e.ID)
		}
	}
	if len(verdicts) == 0 || w == &s.watching && !s.keeps() { // stopped meanwhile, perhaps, and another stands in
		return nil
	}
	return s.pronounce(verdicts)
}

// remains looks for what a dead runner left of an action. Nothing is left of one that recorded no
// processes at all: it runs no commands.
func (x *examined) remains(id string) proc.Remains {
	if x.work == nil {
		return proc.Remains{Hidden: x.record.Work != ""} // by a newer kapi, perhaps
	}
	work, ok := x.work.of(id)
	switch {
	case !ok:
		return proc.Remains{}
	case x.abroad:
		return x.table.RemainsAbroad(work, x.record.PIDNamespace)
	}
	return x.table.Remains(work)
}

// An examined runner is what one look has found out.
type examined struct {
	rules.Evidence
	record *store.RunnerRecord
	work   runnerWork
	// abroad: it is, or was, in another PID namespace, so that its pids mean nothing here.
	abroad bool
	// table, of a runner that is gone, is where its remains are looked for.
	table *proc.Table
}

func (s *sweeper) examineAll(w *watching, entries []*entry, runners []store.RunnerRecord) (map[string]*examined, error) {
	byID := make(map[string]*store.RunnerRecord, len(runners))
	for i := range runners {
		byID[runners[i].ID] = &runners[i]
	}
	known := make(map[string]*examined, len(runners))
	for _, e := range entries {
		id := e.Runner.ID
		if known[id] != nil {
			continue
		}
		r := byID[id]
		if r == nil { // forgotten by the store: only its silence can be judged
			r = &store.RunnerRecord{ID: id, Host: e.Runner.Host, PID: e.Runner.PID, HeardAt: e.Runner.HeardAt}
		}
		known[id] = &examined{
			Evidence: s.examine(r), record: r, work: workOf(r),
			abroad: r.PIDNamespace == "" || r.PIDNamespace != s.self.PIDNamespace,
		}
	}
	for id, x := range known {
		s.judgeLock(id, x)
	}
	if err := s.measureSilence(w, known); err != nil {
		return nil, err
	}
	for id, x := range known {
		s.judgeLock(id, x) // others may have seen it held
		if x.Life == rules.LifeUnknown && s.restarted(x) {
			x.Life, x.Restarted = rules.LifeGone, true
		}
	}
	return known, nil
}

// examine finds out what can be proven of a runner's process.
func (s *sweeper) examine(r *store.RunnerRecord) rules.Evidence {
	id := proc.Identity{
		Host: r.Host, PID: r.PID, BootID: r.BootID, PIDNamespace: r.PIDNamespace, StartTime: r.StartTime,
	}
	ev := rules.Evidence{
		Host: r.Host, PID: r.PID, HeardAt: r.HeardAt, Beat: r.Beat,
		Lease: r.Lease, GiveUp: s.opts.GiveUp,
		Life: lifeOf(id), Working: r.Working,
	}
	if ev.Lease == 0 {
		ev.Lease = s.opts.Lease
	}
	ev.GiveUp = max(ev.GiveUp, ev.Lease)
	ev.Stopped = ev.Life == rules.LifeAlive && id.Stopped()
	return ev
}

// judgeLock says what the runner's lock proves of a process that can't be looked at. Whoever holds it is alive,
// whatever machine it is on. If it is free the runner is dead, provided that it is this kernel which would know: the
// runner had the boot id of this process, or its lock was seen here when it was held.
func (s *sweeper) judgeLock(id string, x *examined) {
	switch x.record.Lock {
	case store.LockHeld:
		s.locked[id] = true
		if x.Life == rules.LifeUnknown {
			x.Life, x.Unseen = rules.LifeAlive, true
		}
	case store.LockFree:
		if x.Life == rules.LifeUnknown && (s.sameBoot(x.record) || s.locked[id]) {
			x.Life = rules.LifeGone
		}
	}
}

// sameBoot reports whether a runner has shown the boot id of this process's.
func (s *sweeper) sameBoot(r *store.RunnerRecord) bool {
	return r.BootID != "" && r.BootID == s.self.BootID
}

// lifeOf says what can be proven of a process, in the rules' words.
func lifeOf(id proc.Identity) rules.Life {
	switch id.Life() {
	case proc.Alive:
		return rules.LifeAlive
	case proc.Gone:
		return rules.LifeGone
	}
	return rules.LifeUnknown
}

// processes are those that people are told of.
func processes(all []proc.Process) (named []rules.Process) {
	for _, p := range all {
		named = append(named, rules.Process{PID: p.PID, Name: p.Name})
	}
	return named
}

// restarted reports whether a runner died with the boot before this one. Another boot id proves
// nothing by itself: a container or a virtual machine that shares the file shows one of its own.
// The runner must have been heard last before this boot began, and be silent for a lease that
// was watched, as the clocks of two machines differ.
func (s *sweeper) restarted(x *examined) bool {
	began := time.Now().Add(-s.opts.sinceBoot()).UnixMilli()
	return s.oneMachine && x.record.BootID != "" && s.self.BootID != "" && x.record.BootID != s.self.BootID &&
		x.HeardAt < began && x.Silent >= x.Lease
}

// settleDead reads the process table once if there are dead runners, and returns the entries
// that are still to be judged then: what has just ended looks dead in a view that is behind.
func (s *sweeper) settleDead(entries []*entry, known map[string]*examined) ([]*entry, error) {
	dead := false
	for _, x := range known {
		dead = dead || x.Life == rules.LifeGone
	}
	if !dead {
		return entries, nil
	}
	table, err := proc.ReadTable()
	if err != nil {
		s.log.Warn("what dead runners left can't be looked for", "error", err)
	}
	for _, x := range known {
		switch {
		case x.Life != rules.LifeGone || x.Restarted:
		case table == nil:
			x.Life = rules.LifeUnknown
		default:
			x.table = table
		}
	}
	now, err := s.newest(entries)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(entries, func(e *entry) bool { return now[e.ID] != e.Seq }), nil
}

// endSurvivors asks what a dead runner has left of an action to end. Of all peers only the one does
// so whose verdict it is: many programs take a second signal for "at once".
func (s *sweeper) endSurvivors(e *entry, survivors []proc.Process) {
	if e.LeaveRunning {
		return
	}
	for _, p := range survivors {
		if p.Inner || slices.Contains(s.asked[e.ID], p.Ref) {
			continue // the runner within, or whoever finds it dead, asks it
		}
		s.asked[e.ID] = append(s.asked[e.ID], p.Ref)
		if err := proc.Signal(p.Ref, syscall.SIGTERM); err != nil {
			s.log.Warn("what a dead runner left can't be asked to end", "action", e.ID, "name", p.Name, "error", err)
		} else {
			s.log.Info("asked a process to end that a dead runner left", "action", e.ID, "pid", p.PID, "name", p.Name)
		}
	}
}
