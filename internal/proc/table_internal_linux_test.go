package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that shows no environment is looked at again if it is within an exec, or ends: before that it would have to
// be taken for work.
func TestEnvironmentDuringExec(t *testing.T) {
	const environ = "KAPI_NONCE=SECRET\x00"
	// bare shows the end of the environment as 0.
	shows := func(state string, bare bool) string {
		line := "50 (p) " + state + " 1 40 30 0 0 0 7 8 9 10 11 12 13 14 15 16 1 18 100"
		for field := 23; field <= 52; field++ {
			if field == 51 && bare {
				line += " 0"
			} else {
				line += fmt.Sprint(" ", field)
			}
		}
		return line + "\n"
	}
	for name, tt := range map[string]struct {
		// stats are what the process shows after the environment was found empty, one after the other.
		stats []string
		// environ is what its environment is then.
		environ string
		want    kinship
		// orphaned: the process's parent, which belongs to the work, ends meanwhile.
		orphaned bool
	}{
		"an exec that is over by then": {[]string{shows("S", false)}, environ, sure, false},
		"a slow exec":                  {[]string{shows("R", true), shows("R", true), shows("S", false)}, environ, sure, false},
		"another program":              {[]string{shows("R", true), shows("S", false)}, "A=b\x00", stranger, false},
		"another program of the work":  {[]string{shows("R", true), shows("S", false)}, "A=b\x00", sure, true},
		"an exec that takes too long":  {slices.Repeat([]string{shows("R", true)}, maxMoments+1), "", maybe, false},
		"an empty environment":         {[]string{shows("S", false)}, "", maybe, false},
		"it ends":                      {[]string{shows("R", true), shows("Z", true)}, "", stranger, false},
	} {
		t.Run(name, func(t *testing.T) {
			fs := procfs(t.TempDir())
			task := fs.path("50", "task", "50")
			if err := os.MkdirAll(task, 0o700); err != nil {
				t.Fatal(err)
			}
			write := func(file, text string) {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Error(err)
				}
			}
			write(filepath.Join(task, "environ"), "")
			write(fs.path("50", "cgroup"), "0::/user")
			// Opening the pipe waits until it is read, which is after the environment was.
			pipe := fs.path("50", "stat")
			newPipe := func() {
				if err := errors.Join(unix.Mkfifo(pipe+"2", 0o600), os.Rename(pipe+"2", pipe)); err != nil {
					t.Error(err)
				}
			}
			newPipe()
			served := make(chan struct{})
			go func() {
				defer close(served)
				for i, text := range tt.stats {
					f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
					if err != nil {
						t.Error(err)
						return
					}
					newPipe() // for the next one to open it
					if i == len(tt.stats)-1 {
						write(filepath.Join(task, "environ"), tt.environ)
					}
					_, _ = f.WriteString(text)
					_ = f.Close()
				}
			}()
			p := &process{stat: mustParse(t, shows("R", true))}
			f := family{
				Table: &Table{fs: fs, processes: map[int]*process{50: p}}, found: map[int]kinship{},
				Work: Work{Root: Ref{45, 100}, Mark: MarkOf("SECRET"), ControlGroup: "\n0::/user\n"},
			}
			if tt.orphaned {
				p.parent = f.Root.PID
				f.processes[p.parent] = &process{stat: stat{pid: p.parent, parent: 1, start: f.Root.StartTime}}
			}
			if got := f.kinshipOf(p); got != tt.want {
				t.Fatalf("kinship %d, want %d", got, tt.want)
			}
			if maybe := f.Remains(f.Work).Maybe; len(maybe) > 0 && maybe[0].Starting != (len(tt.stats) > maxMoments) {
				t.Errorf("it is about to start: %v", maybe[0].Starting)
			}
			<-served
		})
	}
}

// A process that has ended since it was listed is no part of the work, even if all the time to wait is used up.
func TestEndedSinceListed(t *testing.T) {
	for name, last := range map[string]string{
		"it is gone":             "",
		"it waits to be reaped":  "50 (p) Z 1 40 30 0 0 0 7 8 9 10 11 12 13 14 15 16 1 18 100 0\n",
		"another one has its id": "50 (q) S 1 40 30 0 0 0 7 8 9 10 11 12 13 14 15 16 1 18 200 0\n",
	} {
		fs := procfs(t.TempDir())
		if last != "" {
			task := fs.path("50", "task", "50")
			if err := errors.Join(os.MkdirAll(task, 0o700), os.WriteFile(filepath.Join(task, "environ"), nil, 0o600),
				os.WriteFile(fs.path("50", "stat"), []byte(last), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		p := &process{stat: mustParse(t, "50 (p) S 1 40 30 0 0 0 7 8 9 10 11 12 13 14 15 16 1 18 100 0\n")}
		f := family{
			Table: &Table{fs: fs, processes: map[int]*process{50: p}, moments: maxMoments}, found: map[int]kinship{},
			Work: Work{Root: Ref{45, 100}, Mark: MarkOf("SECRET"), Groups: []int{40}},
		}
		if got := f.Remains(f.Work); len(got.Sure)+len(got.Maybe) > 0 {
			t.Errorf("%s: left are %+v", name, got)
		}
	}
}

// What a process of the work has started is part of it, even if that process has ended since both were listed.
func TestParentEndedSinceListed(t *testing.T) {
	fs := procfs(t.TempDir())
	task := fs.path("51", "task", "51")
	if err := errors.Join(os.MkdirAll(task, 0o700), os.WriteFile(filepath.Join(task, "environ"), []byte("A=b\x00"), 0o600)); err != nil {
		t.Fatal(err)
	}
	listed := func(pid, parent int) *process {
		return &process{stat: stat{pid: pid, state: 'S', parent: parent, threads: 1, start: 100}}
	}
	f := family{
		Table: &Table{fs: fs, processes: map[int]*process{45: listed(45, 1), 50: listed(50, 45), 51: listed(51, 50)}},
		found: map[int]kinship{}, Work: Work{Root: Ref{45, 100}, Mark: MarkOf("SECRET"), Reaper: Ref{1, 1}},
	}
	f.processes[1] = listed(1, 0)
	f.processes[1].start = 1
	if got := f.Remains(f.Work).Sure; len(got) != 1 || got[0].PID != 51 {
		t.Errorf("left are %+v", got)
	}
	// If that one was adopted, it may have been a part of the work, as long as it was in a group or session of it.
	for name, c := range map[string]struct {
		parent, group, session int
		maybe                  bool
	}{
		"group":          {1, 40, 0, true},
		"session":        {1, 0, 30, true},
		"no parent":      {44, 40, 0, true},
		"neither":        {1, 41, 31, false},
		"of an ancestor": {46, 40, 0, true},
		"its session":    {46, 0, 30, false},
	} {
		adopted := listed(50, c.parent)
		adopted.group, adopted.session = c.group, c.session
		f.processes[46], f.processes[50], f.processes[51] = listed(46, 1), adopted, listed(51, 50)
		f.Ancestors, f.Groups, f.Sessions = []Ref{{46, 100}}, []int{40}, []int{30}
		f.found = map[int]kinship{45: stranger, 46: stranger}
		got := f.Remains(f.Work).Maybe
		if len(got) > 1 || (len(got) == 1) != c.maybe {
			t.Errorf("%s: maybe left are %+v", name, got)
		}
	}
}

// A process that may not be looked into shows no place of its environment either. It is not about to start a program.
func TestUnreadableIsNotStarting(t *testing.T) {
	fs := procfs(t.TempDir())
	if err := os.MkdirAll(fs.path("50", "task", "50", "environ"), 0o700); err != nil { // reading a folder is an error
		t.Fatal(err)
	}
	p := &process{stat: stat{pid: 50, state: 'S', parent: 1, group: 40, threads: 1, start: 100, bare: true}}
	f := family{
		Table: &Table{fs: fs, processes: map[int]*process{50: p}}, found: map[int]kinship{},
		Work: Work{Root: Ref{45, 100}, Mark: MarkOf("SECRET"), Groups: []int{40}},
	}
	if got := f.Remains(f.Work).Maybe; len(got) != 1 || got[0].Starting {
		t.Errorf("maybe left are %+v", got)
	}
}

func mustParse(t *testing.T, line string) stat {
	t.Helper()
	st, err := parseStat(line)
	if err != nil {
		t.Fatal(err)
	}
	return st
}
