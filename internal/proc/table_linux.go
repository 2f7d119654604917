package proc

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Table is what the kernel showed of this machine's processes at one time. Any number of questions can
// be answered from it. It is for one goroutine at a time.
type Table struct {
	fs        procfs
	processes map[int]*process
	// hidden: other users' processes are not shown (hidepid).
	hidden bool
	// scope identifies what the paths of control groups are relative to, as this process sees them.
	scope string
	// namespace is this process's own Identity.PIDNamespace.
	namespace string
	// moments is how often a moment was waited for processes that showed no environment.
	moments int
}

// A process is one process of a Table. Its environment and control groups are read when they are needed.
type process struct {
	stat
	environ *environ
	groups  *string
}

// An environ is what could be read of a process's environment.
type environ struct {
	marks []Mark
	text  string // as the kernel shows it
	// unseen is true if it can't be read or is empty.
	unseen bool
	// passing is true if there was nothing to read, rather than no right to read it.
	passing bool
}

// scans bounds how often the process table is listed if processes keep starting and ending.
const scans = 4

// maxMoments bounds Table.moments.
const maxMoments = 50

// ReadTable reads all processes. It returns an error if the process table as a whole can't be read.
//
// One listing isn't enough: a process may fork and end while it is made, so that neither the process nor its
// child is in it. So ReadTable lists again until nothing new shows up, but not endlessly.
func ReadTable() (*Table, error) { return system.table() }

func (p procfs) table() (*Table, error) {
	t := &Table{fs: p, processes: map[int]*process{}}
	for range scans {
		pids, err := p.pids()
		if err != nil {
			return nil, fmt.Errorf("list the processes: %w", err)
		}
		fresh := false
		for _, pid := range pids {
			if t.processes[pid] != nil {
				continue
			}
			fresh = true
			st, err := p.stat(pid)
			switch {
			case err == nil:
				t.processes[pid] = &process{stat: st}
			case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
				return nil, fmt.Errorf("look at process %d: %w", pid, err) // a process that can't be looked at may be part of any work
			}
		}
		if !fresh {
			break
		}
	}
	// Each PID namespace has a process 1. If that isn't shown, other processes aren't either.
	t.hidden = t.processes[1] == nil
	t.scope = p.scope()
	if id, err := p.self(); err == nil {
		t.namespace = id.PIDNamespace
	}
	return t, nil
}

// scope returns Table.scope.
func (p procfs) scope() string {
	scope, _ := os.Readlink(p.path("self/ns/cgroup"))
	return scope
}

// lives reports whether a process of the table has a living thread.
func (t *Table) lives(p *process) bool {
	if !p.dead() {
		return true
	}
	_, err := t.fs.living(p.pid, p.stat)
	return err == nil
}

// environOf reads the environment of a process, once.
func (t *Table) environOf(p *process) *environ {
	if p.environ == nil {
		if p.environ = t.readEnviron(p); p.environ.passing && t.settles(p) {
			p.environ = t.readEnviron(p)
		}
	}
	return p.environ
}

// readEnviron reads the environment of a process. That there is nothing to read may be so only for a moment, or because
// the process has ended since it was listed.
func (t *Table) readEnviron(p *process) *environ {
	task, err := t.fs.living(p.pid, p.stat)
	if err != nil {
		return &environ{unseen: true}
	}
	// If the leader has ended, only the other threads still show the environment.
	data, err := os.ReadFile(t.fs.path(strconv.Itoa(p.pid), "task", strconv.Itoa(task.pid), "environ"))
	if err != nil || len(data) == 0 {
		return &environ{unseen: true, passing: err == nil || missing(err)}
	}
	return &environ{marks: marksIn(string(data)), text: string(data)}
}

// settles waits while a process shows no environment because it is within an exec, or ends. It reports whether the
// environment can be read now. On a machine that starts and ends many processes there is always one that would have to be
// taken for work otherwise. Each process is looked at once more, at least.
func (t *Table) settles(p *process) bool {
	for {
		st, err := t.fs.stat(p.pid)
		switch {
		case missing(err), err == nil && st.start != p.start:
			p.state = 'X'
			return false
		case err != nil:
			return false
		}
		st.parent, st.group, st.session = p.parent, p.group, p.session // its parent may have ended since
		p.stat = st
		if !st.bare || !t.lives(p) {
			return !st.bare
		}
		if t.moments == maxMoments {
			return false
		}
		t.moments++
		time.Sleep(time.Millisecond)
	}
}

// inControlGroup reports whether a process is in a control group, or below it. A process that can't be
// compared counts as in it. The root group doesn't count, because every process is in it.
func (t *Table) inControlGroup(p *process, recorded string) bool {
	if p.groups == nil {
		data, _ := os.ReadFile(t.fs.path(strconv.Itoa(p.pid), "cgroup"))
		groups := string(data)
		p.groups = &groups
	}
	scope, want, _ := strings.Cut(recorded, "\n")
	if *p.groups == "" || want == "" || scope != t.scope {
		return true
	}
	paths, all := hierarchies(*p.groups), true
	for hierarchy, path := range hierarchies(want) {
		all = all && path == "/"
		under := strings.TrimSuffix(path, "/") + "/"
		if is := paths[hierarchy]; is != path && !strings.HasPrefix(is, under) {
			return false
		}
	}
	return !all
}

// hierarchies returns the paths of a process's control groups (cgroups(7), /proc/PID/cgroup).
func hierarchies(text string) map[string]string {
	paths := map[string]string{}
	for line := range strings.Lines(text) {
		if i := strings.LastIndex(line, ":/"); i >= 0 {
			paths[line[:i]] = strings.TrimSuffix(line[i+1:], "\n")
		}
	}
	return paths
}

// controlGroup returns the Work.ControlGroup to record for a process.
func (p procfs) controlGroup(pid int) string {
	data, err := os.ReadFile(p.path(strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return ""
	}
	return p.scope() + "\n" + string(data)
}

// sorted returns the processes by ascending pid.
func (t *Table) sorted() []*process {
	all := make([]*process, 0, len(t.processes))
	for _, p := range t.processes {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *process) int { return a.pid - b.pid })
	return all
}
