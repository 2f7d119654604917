package progress

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A recording is the output of a real tool, with times; testdata/record.go makes them.
type recording struct {
	version string
	pieces  []piece
}

type piece struct {
	at   time.Duration
	said string
}

func readRecording(t *testing.T, file string) (r recording) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name, value, _ := strings.Cut(s.Text(), " ")
		switch name {
		case "version:":
			r.version = value
		case "command:", "terminal:":
		default:
			ms, err := strconv.Atoi(name)
			said, err2 := strconv.Unquote(value)
			if err != nil || err2 != nil {
				t.Fatalf("%s: not a piece: %q", file, s.Text())
			}
			r.pieces = append(r.pieces, piece{time.Duration(ms) * time.Millisecond, said})
		}
	}
	if r.version == "" || len(r.pieces) == 0 {
		t.Fatalf("%s has no version or no output", file)
	}
	return r
}

// replay feeds a recording to a tracker.
func (r recording) replay(tracker *Tracker, coverage Coverage) {
	s := Scanner{Line: tracker.Line, Terminal: tracker.Terminal, Coverage: coverage}
	for i, p := range r.pieces {
		if i > 0 && p.at-r.pieces[i-1].at > 200*time.Millisecond {
			s.Pause()
		}
		_, _ = s.Write([]byte(p.said))
	}
	s.Flush()
}

// seen is a Reporter that summarises what is reported.
type seen struct {
	log
	steps, resets int
	first, last   float64
	known         bool
}

func (s *seen) SetProgress(p float64) {
	if s.known && p <= s.last {
		s.add("%v after %v", p, s.last)
	}
	if s.steps == 0 {
		s.first = p
	}
	s.steps, s.last, s.known = s.steps+1, p, true
}

func (s *seen) ResetProgress()          { s.resets, s.known = s.resets+1, false }
func (s *seen) Impacted(r string) error { s.add("impacted: %s", r); return nil }

// For each recording: the least number of advances, the number of restarts, and the last progress
// before the end ("" is unknown).
func TestRecordings(t *testing.T) {
	const number = `(?P<done>\d+)`
	for _, c := range []struct {
		name          string
		pattern       string
		total         float64
		steps, resets int
		last          string
	}{
		{name: "rsync-progress2", steps: 5, last: "0.99"},
		{name: "rsync-progress", steps: 1, last: "0.52"},
		{name: "pv", steps: 10, last: "0.92"},
		{name: "pv-pipe", steps: 10, last: "0.92"},
		{name: "pv-unknown-size"},
		{name: "curl"},
		{name: "curl-bar", steps: 5, last: "0.99"},
		{name: "curl", pattern: `^\s*(?P<percent>\d+)\s+\S+\s+\d+\s`, steps: 2, last: "1"},
		{name: "wget", steps: 10, last: "0.94"},
		{name: "wget-dots", steps: 50, last: "0.99"},
		{name: "dd"},
		{name: "dd", pattern: `^` + number + ` bytes`, total: 41943040000, steps: 1, last: "1"},
		{name: "apt", steps: 10, resets: 2, last: "0.8"},
		{name: "apt-pipe", steps: 15, last: "0.99"},
		{name: "pgbench", steps: 10, last: "0.99"},
		{name: "pgbench-run"},
		{name: "pgbench-run", pattern: `^progress: (?P<done>[\d.]+) s, (?P<state>[\d.]+ tps)`, total: 5, steps: 4, last: "1"},
		{name: "redis-reshard"},
		{name: "redis-reshard", pattern: `^Moving slot (?P<state>\d+) from \S+ to`, total: 300, steps: 300, last: "1"},
		{name: "git-clone", steps: 10, resets: 2, last: "0.99"},
		{name: "git-clone-terminal", steps: 10, resets: 3, last: "0.99"},
		{name: "npm"},
		{name: "npm-pipe"},
		{name: "ffmpeg"},
		{name: "ffmpeg", pattern: `frame=\s*` + number, total: 1500, steps: 1, last: "1"},
		{name: "xz", steps: 3, last: "0.99"},
		{name: "zstd"},
		{name: "shred"},
		{name: "badblocks"},
		{name: "mke2fs"},
		{name: "cargo-terminal-integration", steps: 3, resets: 1},
		{name: "cmake", steps: 15, last: "0.99"},
		{name: "cmake-terminal", steps: 15, last: "0.99"},
		{name: "pytest", steps: 5, last: "0.99"},
		{name: "pytest-terminal", steps: 40, last: "0.99"},
		{name: "borg-extract", steps: 25, last: "0.974"},
		{name: "zip"},
		{name: "git-dirstat"},
		{name: "git-renames"},
		{name: "go-cover"},
		{name: "free-and-df"},
		{name: "ping"},
		{name: "df"},
		{name: "top"},
	} {
		name := c.name
		if c.pattern != "" {
			name += "  by a pattern"
		}
		t.Run(name, func(t *testing.T) {
			r := readRecording(t, filepath.Join("testdata", "recordings", c.name+".rec"))
			var pattern *Pattern
			if c.pattern != "" {
				var err error
				if pattern, err = ParsePattern(c.pattern, c.total); err != nil {
					t.Fatal(err)
				}
			}
			var s seen
			r.replay(NewTracker(&s, pattern, 0), pattern.Coverage())
			last := ""
			if s.known {
				last = fmt.Sprint(s.last)
			}
			t.Logf("%s: %d steps from %v, %d resets, last %q", r.version, s.steps, s.first, s.resets, last)
			if s.steps < c.steps || c.steps == 0 && s.steps > 0 || s.resets != c.resets || last != c.last {
				t.Errorf("got %d steps, %d resets, last %q; want %d or more, %d, %q", s.steps, s.resets, last, c.steps, c.resets, c.last)
			}
			if got := s.String(); strings.Contains(got, "after") || strings.Contains(got, "impacted") {
				t.Error(got)
			}
		})
	}
}

// Every recording is used.
func TestAllRecordingsAreRead(t *testing.T) {
	source, err := os.ReadFile("recordings_internal_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/recordings/*.rec")
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".rec"); !strings.Contains(string(source), strconv.Quote(name)) {
			t.Errorf("no test reads %s", file)
		}
	}
}
