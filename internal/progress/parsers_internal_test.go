package progress

import (
	"math"
	"strconv"
	"strings"
	"testing"
)

func TestParseNotice(t *testing.T) {
	text := func(s string) *string { return &s }
	number := func(p float64) *float64 { return &p }
	for _, c := range []struct {
		in   string
		want Notice
	}{
		{"", Notice{}},
		{"STATUS=half way\nX_KAPI_PROGRESS=0.5\n", Notice{State: text("half way"), Progress: number(0.5)}},
		{"READY=1\nSTATUS=a=b", Notice{Ready: true, State: text("a=b")}},
		{"STOPPING=1", Notice{Stopping: true}},
		{"STATUS=", Notice{State: text("")}},
		{"STATUS=\x1b[31mred\x1b[0m \x1b]0;title\atext\u202e\x00\xff\rtoo\x1b[5", Notice{State: text("red text\uFFFD too")}},
		{"X_KAPI_PROGRESS=", Notice{None: true}},
		{"X_KAPI_PROGRESS=unknown", Notice{Unknown: true}},
		{"X_KAPI_PROGRESS=0.5\nX_KAPI_PROGRESS=unknown\nX_KAPI_PROGRESS=", Notice{None: true}},
		{"X_KAPI_PROGRESS=0.5\nX_KAPI_PROGRESS=unknown\nX_KAPI_PROGRESS=0.1", Notice{Unknown: true, Progress: number(0.1)}},
		{"X_KAPI_PROGRESS=7", Notice{Progress: number(1)}},
		{"X_KAPI_PROGRESS=-7", Notice{Progress: number(0)}},
		{"X_KAPI_PROGRESS=NaN\nX_KAPI_PROGRESS=Inf\nX_KAPI_PROGRESS=50%\nREADY=yes\nnonsense\n=\x00\xff", Notice{}},
		{"MAINPID=1\nWATCHDOG=1\nFDSTORE=1", Notice{}},
	} {
		got := ParseNotice([]byte(c.in))
		same := func(a, b *float64) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
		sameText := func(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
		if !same(got.Progress, c.want.Progress) || !sameText(got.State, c.want.State) ||
			got.None != c.want.None || got.Unknown != c.want.Unknown || got.Ready != c.want.Ready || got.Stopping != c.want.Stopping {
			t.Errorf("%q: got %+v, want %+v", c.in, got, c.want)
		}
	}
}

func FuzzParseNotice(f *testing.F) {
	f.Add([]byte("STATUS=x\nX_KAPI_PROGRESS=0.1"))
	f.Fuzz(func(t *testing.T, in []byte) {
		n := ParseNotice(in)
		if n.Progress != nil && !(*n.Progress >= 0 && *n.Progress <= 1) {
			t.Errorf("progress %v", *n.Progress)
		}
		if n.State != nil {
			checkText(t, *n.State)
		}
	})
}

func TestPattern(t *testing.T) {
	const none = -1
	for _, c := range []struct {
		name, expression string
		total            float64
		lines            string
		progress         float64
		state            string
	}{
		{"percent", `at (?P<percent>[\d.]+) per cent`, 0, "at 42.5 per cent", 0.425, ""},
		{"done and total", `(?P<done>[\d,]+) of (?P<total>[\d,]+)`, 0, "1,000 of 4,000 rows", 0.25, ""},
		{"done and a total", `row (?P<done>\d+)`, 200, "row 50", 0.25, ""},
		{"one group", `^row (\d+)$`, 200, "row 50", 0.25, ""},
		{"matches", `^moved `, 4, "moved a\nfailed b\nmoved c", 0.5, ""},
		{"matches with a state", `^Moving slot (?P<state>\d+)`, 4, "Moving slot 7\nMoving slot 9", 0.5, "9"},
		{"a state alone", `^phase (?P<state>.+)`, 0, "phase two ", none, "two"},
		{"too much", `(?P<percent>\d+)%`, 0, "300%", 1, ""},
		{"no match", `(?P<percent>\d+)%`, 0, "done", none, ""},
		{"not a number", `(?P<percent>\w+)%`, 0, "some%", none, ""},
		{"none at all", `(?P<percent>\w+)%`, 0, "NaN%\nInf%", none, ""},
		{"none of all", `(?P<done>\w+)/(?P<total>\w+)`, 0, "1/NaN\nNaN/1\n1/Inf", none, ""},
		{"of nothing", `(?P<done>\d+)/(?P<total>\d+)`, 0, "0/0", none, ""},
		{"a group that took no part", `a(?P<done>\d+)?/(?P<total>\d+)`, 0, "a/7", none, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParsePattern(c.expression, c.total)
			if err != nil {
				t.Fatal(err)
			}
			var last Reading
			for line := range strings.SplitSeq(c.lines, "\n") {
				if r, ok := p.Read([]byte(line)); ok {
					last = r
				}
			}
			progress, state := float64(none), ""
			if last.Progress != nil {
				progress = *last.Progress
			}
			if last.State != nil {
				state = *last.State
			}
			if progress != c.progress || state != c.state {
				t.Errorf("got %v and %q, want %v and %q", progress, state, c.progress, c.state)
			}
		})
	}
}

// A bar drawn with a leading carriage return has not ended its line while it is shown.
func TestPatternCoverage(t *testing.T) {
	for _, c := range []struct {
		name, expression string
		total            float64
		want             string
	}{
		{"percent", `(?P<percent>\d+)%`, 0, "0.41, 0.42"},
		{"done and total", `(?P<done>\d+)%`, 100, "0.41, 0.42"},
		{"a state alone", `(?P<state>\d+)%`, 0, `"41", "42"`},
		{"matches", `(?P<state>\d+)%`, 4, `0.25, "41"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParsePattern(c.expression, c.total)
			if err != nil {
				t.Fatal(err)
			}
			var l log
			s := Scanner{Line: NewTracker(&l, p, 0).Line, Coverage: p.Coverage()}
			for _, piece := range []string{"\r 41%", "\r 42%"} {
				_, _ = s.Write([]byte(piece))
				s.Pause()
			}
			if got := l.String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestParsePatternRefuses(t *testing.T) {
	for _, c := range []struct {
		expression string
		total      float64
		want       string
	}{
		{`(`, 0, "not a regular expression"},
		{`(\d+)%`, 0, "no group named percent"},
		{`x`, 0, "no group named percent"},
		{`(?P<done>\d+)`, 0, "without the total"},
		{`(?P<total>\d+)`, 0, "no group named done"},
		{`(?P<precent>\d+)`, 0, `unknown group "precent"`},
		{`(\d+) (\d+)`, 10, "several groups"},
		{`x`, -1, "above 0"},
		{`x`, math.NaN(), "above 0"},
	} {
		if _, err := ParsePattern(c.expression, c.total); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.expression, err, c.want)
		}
	}
}

func TestGuess(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		// want is what is believed after each line; "-" is unknown.
		want string
	}{
		{"a single one", []string{"5 packets transmitted, 0 received, 100% packet loss"}, "-"},
		{"growing", []string{"10%", "20%", "20%", "30%"}, "- 20 20 30"},
		{"of other shapes", []string{"loss 10%", "jitter 20%", "full 30%"}, "- - -"},
		{"numbers and units change", []string{"1.2MiB 3% 5KiB/s 0:01", "12MiB 40% 7MiB/s 0:00", "1GiB 41% 7MiB/s"}, "- 40 41"},
		{"started over", []string{"10%", "50%", "100%", "0%", "10%"}, "- 50 100 - 10"},
		{"a new phase of another shape", []string{"get 50%", "get 60%", "get 100%", "put 1%", "put 2%"}, "- 60 100 100 2"},
		{"two at once", []string{"a 10%", "a 20%", "b 1%", "b 2%", "a 30%"}, "- 20 20 20 30"},
		{"up and down", []string{"x 10%", "x 30%", "x 20%", "x 40%", "x 5%", "x 60%", "x 1%", "x 2%", "x 3%"}, "- 30 - 40 - 60 - - -"},
		{"a ratio", []string{"Read: 0 B ==> 0%", "Read: 8 MiB ==> 100%", "Read: 16 MiB ==> 100%"}, "- - -"},
		{"above 100", []string{"150%", "160%"}, "- -"},
		{"below 0", []string{"-3%", "-5%"}, "- -"},
		{"changes and times", []string{"+3%", "+5%", "1:10%", "1:20%"}, "- - - -"},
		{"all at once after it started over", []string{"10%", "50%", "0%", "100%"}, "- 50 - -"},
		{
			"many phases",
			[]string{"0%", "95%", "0%", "95%", "0%", "95%", "0%", "95%", "0%", "95%", "0%", "50%"},
			"- 95 - 95 - 95 - 95 - 95 - 50",
		},
		{"with a comma", []string{"1,5 %", "42,5 %"}, "- 42.5"},
		{"an address", []string{"GET /a%20b", "GET /a30%20b"}, "- -"},
		{"a format", []string{"%d 10%s", "%d 20%s"}, "- -"},
		{"in words", []string{"abc10%", "abc20%"}, "- -"},
		{"the second is", []string{"%d: 10%", "%d: 20%"}, "- 20"},
		{"filesystems", []string{"/dev/sda1 10% /", "/dev/sda2 20% /home", "/dev/sda3 30% /boot"}, "- - -"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var g Guess
			var got []string
			now := "-"
			for _, line := range c.lines {
				switch hint, percent := g.Read([]byte(line)); hint {
				case Advanced:
					now = strconv.FormatFloat(percent, 'f', -1, 64)
				case Restarted:
					now = "-"
				}
				got = append(got, now)
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

// A command whose lines all have different shapes must not use ever more memory.
func TestGuessForgets(t *testing.T) {
	var g Guess
	for i := range 1000 {
		g.Read([]byte(strings.Repeat("x", i) + " 10%"))
	}
	if len(g.shapes) != maxShapes {
		t.Errorf("got %d shapes", len(g.shapes))
	}
	if hint, _ := g.Read([]byte(strings.Repeat("x", 999) + " 20%")); hint != Advanced {
		t.Error("the newest shape was forgotten")
	}
}

func FuzzGuess(f *testing.F) {
	f.Add([]byte("10%\n20%\nx 3 %"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var g Guess
		for line := range strings.SplitSeq(string(in), "\n") {
			if hint, percent := g.Read([]byte(line)); hint == Advanced && !(percent >= 0 && percent <= 100) {
				t.Errorf("%q: %v per cent", line, percent)
			}
		}
		if len(g.shapes) > maxShapes {
			t.Errorf("got %d shapes", len(g.shapes))
		}
	})
}
