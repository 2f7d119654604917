package progress

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// believed reads lines in turn, and returns what is believed after each; "-" is unknown.
func believed(lines ...string) string {
	var g Guess
	var got []string
	now := "-"
	for _, line := range lines {
		switch hint, percent := g.Read([]byte(line)); hint {
		case Advanced:
			now = strconv.FormatFloat(percent, 'f', -1, 64)
		case Restarted:
			now = "-"
		}
		got = append(got, now)
	}
	return strings.Join(got, " ")
}

// The ways to write a percentage on lines of one shape.
func TestGuessWaysOfWriting(t *testing.T) {
	for _, format := range []string{
		"%s%%",
		"copying %s%%",
		"copying %s %%",
		"copying %s\u00a0%%", // as in French
		"copying %s\u202f%%",
		"copying %s\u2009%%",
		"Loading...%s%%",
		"Loading… %s%%",
		"Loading..%s%%",
		"Progress:%s%%",
		"Progress: %s%%",
		"progress=%s%%",
		"[-----%s%%    ]",
		"[-----> %s%%    ]",
		"[+++++%s%%]",
		"[%s%%]",
		"Phase 2...%s%%",
		"(%s%%)",
		"|%s%%|",
		"'%s%%'",
		"%s%%|####      | 3/10 [00:01<00:02]", // tqdm
		"indiriliyor %%%s",                    // Turkish
		"%%%s tamamlandı",
		"(%%%s)",
		"İlerleme:%%%s",
		"%%%s'si bitti",
		"deskargatzen: %%%s", // Basque
		"jindu %s\uFF05",
		"进度%s%%",
		"进度：%s%%完成",
		"已完成%s\uFF05，请等待",
		"已完成，%s%%",
		"進捗 \uFF11%s\uFF05", // \uFF11 is a full-width 1: read with it, 10 and 30 would be 110 and 130
		"Formatting disk %s%%",
		"Loading memory image: %s%%",
		"Writing to /dev/sda1: %s%%",
	} {
		lines := make([]string, 4)
		for i := range lines {
			lines[i] = fmt.Sprintf(format, []string{"10", "30.5", "50", "70,5"}[i])
		}
		want := "- 30.5 50 70.5"
		if strings.Contains(format, "\uFF11") {
			want = "- - - -"
		}
		if got := believed(lines...); got != want {
			t.Errorf("%q: got %s, want %s", lines[0], got, want)
		}
	}
	if got := believed("進捗 １０％", "進捗 ３０．５％", "進捗 ５０％"); got != "- 30.5 50" {
		t.Errorf("full-width digits: got %s", got)
	}
}

// Lines that name something different each time, but have the percentage in the same place.
func TestGuessFrames(t *testing.T) {
	names := strings.Fields("alpha beta gamma delta epsilon zeta eta theta")
	for _, c := range []struct {
		format string
		want   string
	}{
		{"[ %d%%] Building C object %s.c.o", "- - - - 50 60 70 80"}, // cmake
		{"[%d%%] Linking %s", "- - - - 50 60 70 80"},
		{"%d%% Extracting: home/%s", "- - - - 50 60 70 80"}, // borg
		{"%d%% building %s.js", "- - - - 50 60 70 80"},      // webpack
		{"  %d.0%% %s", "- - - - 50 60 70 80"},
		{"%[2]s.py ....... [ %[1]d%%]", "- - - - 50 60 70 80"}, // pytest
		{"%d%% free on %s", "- - - - - - - -"},
		{"%[2]s %[1]d%%", "- - - - - - - -"},          // a list of anything
		{"%[2]s (%[1]d%%)", "- - - - - - - -"},        // git's renames
		{"%[2]s [%[1]d%%] ok", "- - - - - - - -"},     // in the middle
		{"x [%[1]d%%] %[2]s", "- - - - - - - -"},      //
		{"[cpu %[1]d%%] %[2]s", "- - - - - - - -"},    //
		{"[%[1]d%% %[2]s]", "- - - - - - - -"},        //
		{"<td>%[1]d%%</td> %[2]s", "- - - - - - - -"}, //
	} {
		var lines []string
		for i, name := range names {
			lines = append(lines, fmt.Sprintf(c.format, 10*(i+1), name))
		}
		if got := believed(lines...); got != c.want {
			t.Errorf("%q: got %s, want %s", lines[0], got, c.want)
		}
	}
}

// What makes a frame less credible, and what happens to a believed one.
func TestGuessFrameDoubts(t *testing.T) {
	frame := func(values ...int) (lines []string) {
		for i, v := range values {
			lines = append(lines, fmt.Sprintf("[%3d%%] %s", v, strings.Repeat(string(rune('a'+i)), 3)))
		}
		return lines
	}
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"shares of a whole", frame(2, 5, 10, 25, 58), "- - - - -"},
		{"not growing", frame(50, 50, 50, 50, 50), "- - - - -"},
		{"up and down", frame(10, 40, 20, 60, 10, 50, 5, 60, 70, 80, 90), "- - - - - - - - - - -"},
		{"a fall first", frame(80, 20, 40, 60, 70, 80), "- - - - 70 80"},
		{"processes side by side", frame(20, 40, 50, 60, 58, 70), "- - - 60 60 70"},
		{"started over", frame(20, 40, 50, 100, 10, 30, 50, 70), "- - - 100 - - - 70"},
		{"slowly", frame(1, 1, 2, 2, 20, 20, 20, 20, 20, 21), "- - - - - - - - - 21"},
	} {
		if got := believed(c.lines...); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// Growing percentages that are not progress.
func TestGuessCounterCases(t *testing.T) {
	slowly := []string{"71", "71.5", "72", "73", "74", "76"}
	for _, format := range []string{
		// measures
		"disk usage: %s%%",
		"Disk: %s%%",
		"/dev/sda1 is %s%% full",
		"root filesystem usage at %s%%",
		"CPU %s%% MEM 40%%",
		"cpu0: %s%%",
		"CPU load: %s%%, 3 processes",
		"mem=%s%%",
		"Swap used: %s%%",
		"memory usage is now %s%%",
		"%s%% used, 12 GB free",
		"%s%% idle",
		"battery %s%%",
		"Battery 0: Charging, %s%%, 01:12:33 until charged",
		"humidity: %s%%",
		"2026-01-02T12:00:00 humidity=%s%% temp=21",
		"fan: %s%%",
		"volume %s%%",
		"cache hit rate: %s%%",
		"hits %s%%",
		"hit ratio ... %s%%",
		"5 packets transmitted, 4 received, %s%% packet loss, time 4005ms",
		"rx loss %s%%",
		"coverage: %s%% of statements",
		"TOTAL coverage %s%%",
		"%s%% tests passed, 1 tests failed out of 7",
		"pass rate: %s%%",
		"val_accuracy: %s%%",
		"accuracy=%s%% loss=0.3",
		"similarity: %s%%",
		"confidence %s%%",
		"  adding: d/f1 (deflated %s%%)",
		"file1.gz: %s%% smaller",
		"space savings: %s%%",
		"Zoom: %s%%",
		"quality %s%%",
		"threshold %s%% reached",
		"interest: %s%%",
		// prices, styles
		"%s%% off today only",
		"%s%% discount",
		"width: %s%%;",
		"<div style=\"width:%s%%\">",
		"opacity: %s%%",
		"<td width=%s%%>",
		// things that only look like a percentage
		"GET /a%%%sb",
		"GET /%%41%%%s",
		"GET /%%%s/x",
		"q=%%%s&x",
		"%%%ss",
		"%%%sd items",
		"SELECT * FROM t WHERE a LIKE '%%%s%%'",
		"LIKE '%s%%%%'",
		"between 10-%s%%",
		"1..%s%%",
		"12:%s%%",
		"+%s%%",
		"-%s%%",
		"v1.%s%%",
		"1,000,%s%%",
		"kill %%%s1%%",
		"abc%s%%",
		"%s%%abc",
		"%s%%été",
	} {
		lines := make([]string, len(slowly))
		for i, v := range slowly {
			lines[i] = fmt.Sprintf(format, v)
		}
		if got := believed(lines...); strings.Trim(got, "- ") != "" {
			t.Errorf("%q is taken for progress: %s", lines[0], got)
		}
	}
}

// Whole outputs that contain percentages, but no progress.
func TestGuessCounterOutputs(t *testing.T) {
	for name, out := range map[string]string{
		"df":                    "/dev/sda1  10G  1G  10% /\n/dev/sda2  10G  2G  20% /home\n/dev/sda3  10G  3G  30% /boot\ntmpfs  10G  3G  40% /run",
		"git's dirstat":         "   2.0% auth/\n   8.1% bench/\n  12.2% client/\n  21.0% cmd/\n  56.5% server/",
		"coverage by file":      "a.go:3:\tF\t10.0%\nb.go:7:\tG\t40.0%\nc.go:9:\tH\t80.0%\nd.go:9:\tI\t90.0%",
		"pytest-cov":            "src/a.py   10   9   10%\nsrc/bb.py   10   6   40%\nsrc/ccc.py   10   2   80%\nTOTAL   30  17   90%",
		"a profile":             " 31.20%  server  libc.so  [.] malloc\n 12.01%  server  server  [.] parse\n  8.00%  client  libc.so  [.] free",
		"vmstat by host":        "alpha cpu 10%\nbeta cpu 20%\ngamma cpu 30%\ndelta cpu 40%",
		"a load":                strings.Repeat("load 10%\nload 60%\n", 20),
		"an unknown load":       strings.Repeat("Auslastung 10%\nAuslastung 60%\n", 3) + strings.Repeat("Auslastung 70%\nAuslastung 20%\n", 3) + "Auslastung 30%",
		"docker stats":          "web 0.42% 12MiB / 1GiB 1.2%\nweb 0.31% 12MiB / 1GiB 1.2%\nweb 0.20% 12MiB / 1GiB 1.2%",
		"apt's phase, one line": "Reading package lists... 100%\nBuilding dependency tree... 100%",
		"several hosts":         "a: 12% of quota\nb: 40% of quota",
	} {
		got := believed(strings.Split(out, "\n")...)
		if last := got[strings.LastIndexByte(got, ' ')+1:]; last != "-" {
			t.Errorf("%s is taken for progress: %s", name, got)
		}
	}
}

// Each of git's phases has progress of its own.
func TestGuessPhases(t *testing.T) {
	got := believed("Receiving objects:  42% (1/3)", "Receiving objects:  60% (2/3)", "Receiving objects: 100% (3/3)", "Resolving deltas:   1% (1/99)", "Resolving deltas:   2% (2/99)")
	if want := "- 60 100 100 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
