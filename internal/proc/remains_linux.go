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

// Remains returns what is left of a work whose runner is gone. A process that is not among the remains is
// proven not to be part of the work, with one exception. The proof fails for a process that had done all of
// this before the runner looked at it: left the recorded groups, sessions and control group, hidden its
// environment, and lost its parents.
func (t *Table) Remains(w Work) Remains {
	f := family{Table: t, Work: w, found: map[int]kinship{}}
	var r Remains
	explained := map[int]bool{} // process groups of which /proc shows a member
	for _, p := range t.sorted() {
		explained[p.group] = true
		switch k := f.kinshipOf(p); {
		case k == stranger, !f.lives(p): // that it ends may have been found by kinshipOf
		case k == sure:
			one := p.process()
			marks := f.environOf(p).marks
			one.Inner = slices.Contains(marks, f.Mark) && marks[len(marks)-1] != f.Mark
			r.Sure = append(r.Sure, one)
		case k == maybe:
			one := p.process()
			one.Starting = f.environOf(p).passing && p.bare // a process that may not be looked into shows no place, either
			r.Maybe = append(r.Maybe, one)
		}
	}
	if t.hidden {
		// The kernel tells whether a group has members, even if /proc shows none of them.
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

// kinshipOf returns the kinship of a process. It remembers the result, because the kinship of the process's
// children depends on it.
func (f *family) kinshipOf(p *process) kinship {
	if k := f.found[p.pid]; k != undecided {
		return k
	}
	f.found[p.pid] = stranger // ends a circle of parents, which a table may have if pids were reused while it was read
	k := f.judge(p)
	f.found[p.pid] = k
	return k
}

func (f *family) judge(p *process) kinship {
	if p.kernel() || p.start < f.Root.StartTime {
		return stranger
	}
	marks := f.environOf(p).marks // before lives: it may find that the process ends
	switch {
	case p.ref() == f.Root, slices.Contains(marks, f.Mark):
		return sure
	case !f.lives(p):
		return f.descent(p)
	}
	parent := f.processes[p.parent]
	switch {
	case parent == nil && p.parent != 0 && f.hidden:
		return f.orphan(p) // a reaper that is not shown may have adopted it
	case parent == nil: // the parent is outside this PID namespace, or has just ended
		return f.orphanIf(p, p.parent != 0)
	case slices.Contains(f.Ancestors, parent.ref()) && slices.Contains(f.Groups, p.group) && !f.adopts(parent):
		// The parent, an ancestor of the runner, may have made itself a reaper and adopted the process,
		// or may have started it.
		if f.inherits(p, parent) {
			return stranger
		}
		return maybe
	case !f.adopts(parent):
		// Only a reaper adopts processes. The parent can't be the reaper, so it has started the process.
		return f.kinshipOf(parent)
	}
	if k := f.kinshipOf(parent); k != stranger {
		return k
	}
	return f.orphan(p)
}

// descent judges a process that has ended since it was listed. Only its children, which were listed as such, need that.
func (f *family) descent(p *process) kinship {
	parent := f.processes[p.parent]
	started := parent != nil && !f.adopts(parent) // its parent has started it
	switch {
	case started && !slices.Contains(f.Ancestors, parent.ref()):
		return f.kinshipOf(parent)
	case slices.Contains(f.Groups, p.group), !started && p.parent != 0 && slices.Contains(f.Sessions, p.session):
		return maybe
	}
	return stranger
}

func (f *family) orphanIf(p *process, orphaned bool) kinship {
	if orphaned {
		return f.orphan(p)
	}
	return stranger
}

// orphan judges a process whose descent is unknown, because the parent that started it has gone.
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
	return p.start <= f.Root.StartTime // the reaper is unknown or gone, so it may be any process that is not younger than the root
}

// inherits reports whether a process has most of its parent's environment. A child that is started in the
// usual way does; one that is started by sudo, su or env -i doesn't.
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

// rootIsHidden reports whether a process with the pid of the root exists that is not shown. It may be the
// root, or a later process with the same pid.
func (f *family) rootIsHidden() bool {
	return f.processes[f.Root.PID] == nil && f.Root.PID > 0 && !errors.Is(syscall.Kill(f.Root.PID, 0), syscall.ESRCH)
}
