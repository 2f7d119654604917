package proc

import (
	"errors"
	"slices"
	"strings"
	"syscall"
)

// A kinship is the relation of a process to a work.
type kinship int

const (
	undecided kinship = iota
	stranger
	maybe
	sure
)

// Remains returns what is left of a work whose runner is gone. Processes that are not among the remains
// are proven not to be part of the work, with one exception: a process that, before the runner
// looked at it, had left the recorded groups, sessions and control group, hidden its environment,
// and lost its parents.
func (t *Table) Remains(w Work) Remains {
	f := family{Table: t, Work: w, found: map[int]kinship{}}
	var r Remains
	explained := map[int]bool{} // groups with a member that is shown
	for _, p := range t.sorted() {
		explained[p.group] = true
		switch f.kinshipOf(p) {
		case sure:
			one := p.process()
			marks := f.environOf(p).marks
			one.Inner = slices.Contains(marks, f.Mark) && marks[len(marks)-1] != f.Mark
			r.Sure = append(r.Sure, one)
		case maybe:
			r.Maybe = append(r.Maybe, p.process())
		}
	}
	if t.hidden {
		// The kernel says of a group whether it has members, even if it shows none.
		r.Hidden = slices.ContainsFunc(w.Groups, func(group int) bool {
			return !explained[group] && !errors.Is(syscall.Kill(-group, 0), syscall.ESRCH)
		}) || f.rootIsHidden()
	}
	return r
}

func (p *process) process() Process { return Process{Ref: Ref{p.pid, p.start}, Name: p.name} }

// A family decides the kinship of each process to one work.
type family struct {
	*Table
	Work
	found map[int]kinship
}

// kinshipOf is remembered, because the children of a process ask for it again.
func (f *family) kinshipOf(p *process) kinship {
	if k := f.found[p.pid]; k != undecided {
		return k
	}
	f.found[p.pid] = stranger // a table that was read while pids were given out again may have a circle in it
	k := f.judge(p)
	f.found[p.pid] = k
	return k
}

func (f *family) judge(p *process) kinship {
	switch {
	case p.kernel(), p.start < f.Root.StartTime, !f.lives(p):
		return stranger
	case p.ref() == f.Root, slices.Contains(f.environOf(p).marks, f.Mark):
		return sure
	}
	parent := f.processes[p.parent]
	switch {
	case parent == nil && p.parent != 0 && f.hidden:
		return f.orphan(p) // it may be an orphan of a reaper that is not shown
	case parent == nil: // of a process outside this PID namespace, or one that has just ended
		return f.orphanIf(p, p.parent != 0)
	case slices.Contains(f.Ancestors, parent.ref()) && slices.Contains(f.Groups, p.group) && !f.adopts(parent):
		// It may have been adopted by one that has made itself the reaper, or be started by it.
		if f.inherits(p, parent) {
			return stranger
		}
		return maybe
	case !f.adopts(parent):
		// A process is adopted by a reaper and by nothing else. Its parent can't be one: it has started it.
		return f.kinshipOf(parent)
	}
	if k := f.kinshipOf(parent); k != stranger {
		return k
	}
	return f.orphan(p)
}

func (f *family) orphanIf(p *process, orphaned bool) kinship {
	if orphaned {
		return f.orphan(p)
	}
	return stranger
}

// orphan judges a process whose parent has gone, so that its descent can't be told.
func (f *family) orphan(p *process) kinship {
	switch {
	case slices.Contains(f.Groups, p.group), slices.Contains(f.Sessions, p.session):
		return maybe
	case f.environOf(p).unseen && f.inControlGroup(p, f.ControlGroup):
		return maybe
	}
	return stranger
}

// adopts reports whether a process may have adopted what the work left behind.
func (f *family) adopts(p *process) bool {
	if p.pid == 1 || p.ref() == f.Reaper {
		return true
	}
	if f.Reaper.PID != 0 {
		if reaper := f.processes[f.Reaper.PID]; reaper != nil && reaper.ref() == f.Reaper {
			return false
		}
	}
	return p.start <= f.Root.StartTime // the next reaper above may be any that was there
}

// inherits reports whether a process has most of its parent's environment. A child that is started in the
// usual way has; one that is started by sudo, su or env -i has not.
func (f *family) inherits(p, parent *process) bool {
	has := map[string]bool{}
	for entry := range strings.SplitSeq(f.environOf(p).text, "\x00") {
		has[entry] = true
	}
	common, all := 0, 0
	for entry := range strings.SplitSeq(strings.TrimSuffix(f.environOf(parent).text, "\x00"), "\x00") {
		if all++; entry != "" && has[entry] {
			common++
		}
	}
	return 2*common > all
}

// rootIsHidden reports whether the process that the runner started exists, or another with its
// pid, and is not shown.
func (f *family) rootIsHidden() bool {
	return f.processes[f.Root.PID] == nil && f.Root.PID > 0 && !errors.Is(syscall.Kill(f.Root.PID, 0), syscall.ESRCH)
}
