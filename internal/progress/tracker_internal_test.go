package progress

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A log is a Reporter that records what it is told.
type log struct {
	mu    sync.Mutex
	calls []string
}

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, fmt.Sprintf(format, args...))
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.calls, ", ")
}

func (l *log) SetProgress(p float64)        { l.add("%v", p) }
func (l *log) ResetProgress()               { l.add("unknown") }
func (l *log) SetState(state string)        { l.add("%q", state) }
func (l *log) Impacted(reason string) error { l.add("impacted: %s", reason); return nil }
func (l *log) Recovered() error             { l.add("recovered"); return nil }

func TestTracker(t *testing.T) {
	notice := func(s string) func(*Tracker) { return func(t *Tracker) { t.Notice(ParseNotice([]byte(s))) } }
	line := func(s string) func(*Tracker) { return func(t *Tracker) { t.Line([]byte(s)) } }
	shown := func(state TerminalState, p float64) func(*Tracker) {
		return func(t *Tracker) { t.Terminal(TerminalProgress{state, p}) }
	}
	completed := func(t *Tracker) { t.Completed() }
	for _, c := range []struct {
		name, pattern string
		says          []func(*Tracker)
		want          string
	}{
		{"a guess is 1 only at the end", "", []func(*Tracker){line("50%"), line("60%"), line("100%"), completed}, "0.6, 0.99, 1"},
		{"no guess, no end of it", "", []func(*Tracker){line("50%"), completed}, ""},
		{"a guess that started over", "", []func(*Tracker){line("50%"), line("60%"), line("2%"), completed}, "0.6, unknown"},
		{"a guess of another shape", "", []func(*Tracker){line("a 50%"), line("a 60%"), line("a 100%"), line("b 1%"), line("b 2%")}, "0.6, 0.99, unknown, 0.02"},
		{"a pattern instead of a guess", "row (?P<percent>.*)", []func(*Tracker){line("50%"), line("60%"), line("row 10"), line("row 5"), line("row 20"), completed}, "0.1, 0.2"},
		{"phases of a pattern", "row (?P<percent>.*)", []func(*Tracker){line("row 100"), line("row 5")}, "1, unknown, 0.05"},
		{"a pattern's state", "row (?P<percent>.*) (?P<state>.*)", []func(*Tracker){line("row 10 a"), line("row 10 a"), line("row 10 b")}, `0.1, "a", "b"`},
		{
			"the terminal beats lines", "",
			[]func(*Tracker){line("50%"), line("60%"), shown(TerminalNormal, 0.1), line("70%"), shown(TerminalNormal, 0.05), shown(TerminalNormal, 0.2)},
			"0.6, unknown, 0.1, 0.2",
		},
		{"the terminal's unknown", "", []func(*Tracker){shown(TerminalNormal, 0.5), shown(TerminalUnknown, -1), shown(TerminalNormal, 0.1), shown(TerminalNone, -1)}, "0.5, unknown, 0.1, unknown"},
		{"after the terminal's none lines count", "", []func(*Tracker){shown(TerminalNormal, 0.5), line("1%"), shown(TerminalNone, -1), line("2%"), line("3%"), completed}, "0.5, unknown, 0.02, 0.03, 1"},
		{"the terminal's none comes first", "", []func(*Tracker){shown(TerminalNone, 0), line("1%"), line("2%"), shown(TerminalNone, 0), line("3%")}, "0.02, 0.03"},
		{"the terminal's unknown still counts", "", []func(*Tracker){shown(TerminalUnknown, -1), line("1%"), line("2%"), completed, shown(TerminalNormal, 0.1)}, "0.1"},
		{"the terminal's none beats no notice", "", []func(*Tracker){notice("X_KAPI_PROGRESS=0.5"), shown(TerminalNone, -1), line("1%"), line("2%")}, "0.5"},
		{
			"after an empty notice lines count", "row (?P<percent>.*) (?P<state>.*)",
			[]func(*Tracker){notice("X_KAPI_PROGRESS=0.5\nSTATUS=mine"), notice("X_KAPI_PROGRESS="), line("row 10 x"), notice("STATUS="), line("row 20 y")},
			`0.5, "mine", unknown, 0.1, "", 0.2, "y"`,
		},
		{
			"a notice of unknown still counts", "row (?P<percent>.*)",
			[]func(*Tracker){notice("X_KAPI_PROGRESS=0.5"), notice("X_KAPI_PROGRESS=unknown"), line("row 10"), shown(TerminalNormal, 0.2), notice("X_KAPI_PROGRESS=0.1")},
			"0.5, unknown, 0.1",
		},
		{"phases of a terminal", "", []func(*Tracker){shown(TerminalNormal, 1), shown(TerminalNormal, 0)}, "1, unknown, 0"},
		{
			"notices beat all", "row (?P<percent>.*) (?P<state>.*)",
			[]func(*Tracker){line("row 50 x"), shown(TerminalNormal, 0.6), notice("X_KAPI_PROGRESS=0.1\nSTATUS=mine"), line("row 70 y"), shown(TerminalNormal, 0.9), notice("X_KAPI_PROGRESS=0.05"), notice("X_KAPI_PROGRESS=unknown"), line("row 80 z"), notice("X_KAPI_PROGRESS=0.05")},
			`0.5, "x", 0.6, unknown, 0.1, "mine", unknown, 0.05`,
		},
		{"a notice of state leaves the guess", "", []func(*Tracker){notice("STATUS=on it"), line("1%"), line("2%"), notice("STOPPING=1")}, `"on it", 0.02, "stopping"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pattern *Pattern
			if c.pattern != "" {
				var err error
				if pattern, err = ParsePattern(c.pattern, 0); err != nil {
					t.Fatal(err)
				}
			}
			var l log
			tracker := NewTracker(&l, pattern, 0)
			for _, say := range c.says {
				say(tracker)
			}
			if got := l.String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestTrackerTroubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		tracker := NewTracker(&l, nil, 10*time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { tracker.Run(ctx) })
		after := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := l.String(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			l.mu.Lock()
			l.calls = nil
			l.mu.Unlock()
		}
		tracker.Notice(ParseNotice([]byte("STATUS=a")))
		after(9*time.Minute, `"a"`)
		after(2*time.Minute, "impacted: alive, but no progress for 10 min")
		after(time.Hour, "")
		tracker.Notice(ParseNotice([]byte("STATUS=a"))) // nothing new
		after(time.Minute, "")
		tracker.Notice(ParseNotice([]byte("X_KAPI_PROGRESS=0.1")))
		after(time.Minute, "0.1, recovered")
		tracker.Terminal(TerminalProgress{TerminalError, -1})
		after(time.Minute, "impacted: the command reports an error")
		after(10*time.Minute, "") // a stall is less serious
		tracker.Terminal(TerminalProgress{TerminalPaused, -1})
		after(time.Minute, "impacted: the command is paused")
		tracker.Terminal(TerminalProgress{TerminalNormal, 0.2}) // ignored: notices count
		after(time.Minute, "impacted: alive, but no progress for 10 min")
		tracker.Notice(ParseNotice([]byte("STATUS=b\nREADY=1")))
		after(time.Minute, `"b", recovered`)
		tracker.Terminal(TerminalProgress{TerminalError, -1})
		tracker.Terminal(TerminalProgress{TerminalNormal, -1})
		after(time.Minute, "")
		tracker.Terminal(TerminalProgress{TerminalPaused, -1})
		after(time.Minute, "impacted: the command is paused")
		tracker.Terminal(TerminalProgress{TerminalNone, -1})
		after(time.Minute, "recovered")
		cancel()
		wg.Wait()
	})
}

// A strict Reporter fails the test if progress decreases without a reset, or is not a number.
type strict struct {
	log
	t    *testing.T
	last float64
}

func (s *strict) SetProgress(p float64) {
	if !(p > s.last && p <= 1) {
		s.t.Errorf("%v after %v", p, s.last)
	}
	s.last = p
}

func (s *strict) ResetProgress() { s.last = -1 }

func (s *strict) SetState(state string) { checkText(s.t, state) }

// Whatever a command says, in any form and order, the reports are consistent.
func FuzzTracker(f *testing.F) {
	f.Add("1%\n2%\n9%\n1%\n\x1b]9;4;1;50\a3%\x1b]9;4;0\a\n4%", "X_KAPI_PROGRESS=0.5", uint8(2), uint8(0))
	f.Add("row 7 of 5\nrow 1 of 5", "STATUS=\x1b[31mx\nX_KAPI_PROGRESS=", uint8(3), uint8(1))
	patterns := []string{"", `(?P<done>\S+) of (?P<total>\S+)`, `(?P<percent>\S+)%(?P<state>.*)`, `x(?P<state>.*)`}
	f.Fuzz(func(t *testing.T, out, datagram string, piece, which uint8) {
		s := &strict{t: t, last: -1}
		var pattern *Pattern
		if expression := patterns[int(which)%len(patterns)]; expression != "" {
			var err error
			if pattern, err = ParsePattern(expression, 0); err != nil {
				t.Fatal(err)
			}
		}
		tracker := NewTracker(s, pattern, 0)
		scanner := Scanner{Line: tracker.Line, Terminal: tracker.Terminal, Coverage: pattern.Coverage()}
		for p := range slices.Chunk([]byte(out), 1+int(piece)) {
			_, _ = scanner.Write(p)
			scanner.Pause()
			tracker.Notice(ParseNotice([]byte(datagram)))
		}
		scanner.Flush()
		tracker.Completed()
	})
}
