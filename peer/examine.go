package peer

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// How a peer finds out what can be proven about runners and about the processes that they started.

// A runnerWork has, by action, what a runner recorded about the processes that do its work.
type runnerWork map[string]proc.Work

// workOf reads RunnerRecord.Work. It returns nil if that can't be parsed.
func workOf(r *store.RunnerRecord) (work runnerWork) {
	if r.Work == "" || json.Unmarshal([]byte(r.Work), &work) != nil {
		return nil
	}
	return work
}

// of returns what is recorded about the processes of an action or, if there is no entry for it, what is
// recorded for all other actions of this runner.
func (w runnerWork) of(id string) (work proc.Work, ok bool) {
	if work, ok = w[id]; !ok {
		work, ok = w[anyAction]
	}
	return work, ok
}

// anyAction is the key in a runnerWork for all actions that have no entry of their own.
const anyAction = ""

// judgeAll judges actions of other runners. It examines each runner once, reads the process table once
// for all dead runners, and submits all verdicts together. An error is returned when the store can't
// be read or written.
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
	s.settle(w, known)
	entries, err = s.settleDead(entries, known)
	if err != nil {
		return err
	}
	var verdicts []*pronounced
	for _, e := range entries {
		x := known[e.Runner.ID]
		ev := x.Evidence
		var toAsk []proc.Process
		if x.table != nil {
			left := x.remains(e.ID)
			ev.Remains = evident(left)
			toAsk = s.survivors.toAsk(e, x, left.Sure)
		}
		if v := verdictOn(e, ev, toAsk); v != nil {
			verdicts = append(verdicts, v)
		} else if w == &s.watching && x.table != nil {
			s.survivors.ask(e, s.survivors.neglected(e, toAsk))
		}
	}
	defer s.survivors.note()
	if len(verdicts) == 0 || w == &s.watching && !s.keeps() { // another peer may have become the keeper meanwhile
		return nil
	}
	return s.pronounce(verdicts)
}

// remains looks for processes of an action that a dead runner left behind. A runner that recorded no
// processes runs no commands, so there are none.
func (x *examined) remains(id string) proc.Remains {
	all := workOf(x.record)
	if all == nil {
		return proc.Remains{Hidden: x.record.Work != ""} // unreadable, perhaps from a newer kapi
	}
	work, ok := all.of(id)
	switch {
	case !ok:
		return proc.Remains{}
	case x.abroad:
		return x.table.RemainsAbroad(work, x.record.PIDNamespace)
	}
	return x.table.Remains(work)
}

// An examined has what one look has found out about a runner.
type examined struct {
	rules.Evidence
	record *store.RunnerRecord
	// abroad: the runner is, or was, in another PID namespace, so its pids mean nothing here.
	abroad bool
	// table is the process table to search for the remains, if the runner is gone.
	table *proc.Table
	// asked has those of them that were asked to end, once somebody wants to know.
	asked *asked
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
		if r == nil { // the store has no record of it: only its silence can be judged
			r = &store.RunnerRecord{ID: id, Host: e.Runner.Host, PID: e.Runner.PID, HeardAt: e.Runner.HeardAt}
		}
		known[id] = &examined{
			Evidence: s.examine(w, r), record: r,
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
		s.judgeLock(id, x) // again: other peers may have reported the lock as held
		if x.Life == rules.LifeUnknown && s.restarted(x) {
			x.Life, x.Restarted = rules.LifeGone, true
		}
		if x.Life == rules.LifeAlive && x.Silent >= x.Lease { // only of a silent one it matters whether it is stopped
			x.Stopped = identity(x.record).Stopped()
		}
	}
	return known, nil
}

// examine finds out what can be proven about a runner's process.
func (s *sweeper) examine(w *watching, r *store.RunnerRecord) rules.Evidence {
	ev := rules.Evidence{
		Host: r.Host, PID: r.PID, HeardAt: r.HeardAt, Beat: r.Beat,
		Lease: r.Lease, GiveUp: s.opts.GiveUp,
		Working: r.Working,
	}
	if ev.Lease == 0 {
		ev.Lease = s.opts.Lease
	}
	ev.GiveUp = max(ev.GiveUp, ev.Lease)
	if r.Lock == store.LockHeld && w.heardLately(r, s.opts.sinceBoot(), ev.Lease) {
		ev.Life = rules.LifeAlive // most runners are, at most times, so that they cost no look at their processes
		return ev
	}
	ev.Life = lifeOf(identity(r))
	if ev.Life == rules.LifeGone && r.Lock == store.LockHeld {
		ev.Working = true // by a process that has the runner's own lock
	}
	return ev
}

// identity returns what identifies a runner's process.
func identity(r *store.RunnerRecord) proc.Identity {
	return proc.Identity{
		Host: r.Host, PID: r.PID, BootID: r.BootID, PIDNamespace: r.PIDNamespace, StartTime: r.StartTime,
	}
}

// judgeLock sets what the runner's lock proves about a process that can't be looked at. If the lock is held, the
// runner is alive, on whatever machine. If it is free, the runner is dead, provided that this kernel would see the
// lock: the runner has this process's boot id, or its lock was seen as held here before.
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

// sameBoot reports whether a runner has the same boot id as this process.
func (s *sweeper) sameBoot(r *store.RunnerRecord) bool {
	return r.BootID != "" && r.BootID == s.self.BootID
}

// isDead reports whether the death of a runner is certain from its record alone.
func (s *sweeper) isDead(r *store.RunnerRecord) bool {
	return r.Lock == store.LockFree && s.sameBoot(r) || lifeOf(identity(r)) == rules.LifeGone
}

// lifeOf returns what can be proven about a process, in terms of the rules.
func lifeOf(id proc.Identity) rules.Life {
	switch id.Life() {
	case proc.Alive:
		return rules.LifeAlive
	case proc.Gone:
		return rules.LifeGone
	}
	return rules.LifeUnknown
}

// evident converts remains to the form of the rules.
func evident(left proc.Remains) rules.Remains {
	told := func(p proc.Process) bool { return !p.Starting }
	return rules.Remains{
		Sure: processes(left.Sure), Maybe: processes(left.Maybe), Hidden: left.Hidden,
		Starting: len(left.Maybe) > 0 && !left.Hidden && !slices.ContainsFunc(left.Maybe, told),
	}
}

// processes converts processes to the form of the rules.
func processes(all []proc.Process) (named []rules.Process) {
	for _, p := range all {
		named = append(named, rules.Process{PID: p.PID, Name: p.Name})
	}
	return named
}

// restarted reports whether a runner died because this machine was restarted. Another boot id proves
// nothing by itself: a container or a virtual machine that shares the file has its own.
// So the runner must have been heard last before this boot began; and, because the clocks of two
// machines differ, its silence must have been watched for a lease.
func (s *sweeper) restarted(x *examined) bool {
	began := time.Now().Add(-s.opts.sinceBoot()).UnixMilli()
	return s.oneMachine && x.record.BootID != "" && s.self.BootID != "" && x.record.BootID != s.self.BootID &&
		x.HeardAt < began && x.Silent >= x.Lease
}

// settleDead reads the process table once if there are dead runners. After that it reads the entries
// again, and returns those that have not changed: an action that has just ended looks dead in a view
// that is behind.
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
		s.log.Warn("can't look for processes that dead runners left behind", "error", err)
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
