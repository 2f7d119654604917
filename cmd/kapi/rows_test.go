package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/kettubot/kapi"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(progress float64) *float64 { return &progress }

func TestRows(t *testing.T) {
	ms := noon.Add(-192 * time.Second).UnixMilli()
	r := newRows(false)
	for _, a := range []kapi.Action{
		{ID: "1", Title: "reshard the cluster", Status: kapi.StatusRunning, Progress: at(0.42), State: "slot 6881", CreatedAt: ms - 9000, StartedAt: ms},
		{ID: "2", Title: "bad\x1b[2J", Status: kapi.StatusFailed, CreatedAt: ms, UpdatedAt: ms + 60_000, State: "exit status 1"},
		{ID: "3", Title: "数据库备份", Status: kapi.StatusImpacted, CreatedAt: ms, StartedAt: ms, State: "no answer"},
		{ID: "4", Title: "soon", Status: kapi.StatusPending, CreatedAt: ms},
		{ID: "5", Title: "over", Status: kapi.StatusCompleted, CreatedAt: ms},
	} {
		r.update(noon, a)
	}
	for _, c := range []struct {
		width, height int
		want          string
	}{
		{110, 10, `
bad\x1b[2J          failed                                       1m00s              exit status 1
数据库备份          impacted [===-------------------------]      3m12s              no answer
reshard the cluster running  [===========>----------------]  42% 3m12s              slot 6881
soon                pending                                      3m12s`},
		{79, 10, `
bad\x1b[2J          failed                        1m00s              exit stat…
数据库备份          impacted [===----------]      3m12s              no answer
reshard the cluster running  [====>--------]  42% 3m12s              slot 6881
soon                pending                       3m12s`},
		{40, 3, `
bad\x1b[2J failed        1m00s  exit st…
数据库备份 impacted      3m12s  no answ…
and 2 more`},
		{12, 1, `
and 4 more`},
		{9, 9, `
bad\x1b…
数据库…
reshard…
soon`},
		{80, 0, ``},
	} {
		lines := r.lines(noon, c.width, c.height)
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], "\t", " ")
			if w := runewidth.StringWidth(lines[i]); w > c.width {
				t.Errorf("%d wide, may be %d: %q", w, c.width, lines[i])
			}
		}
		if got, want := strings.Join(lines, "\n"), strings.TrimPrefix(c.want, "\n"); got != want {
			t.Errorf("%d x %d: got\n%s\nwant\n%s", c.width, c.height, got, want)
		}
	}
	r.retain([]kapi.Action{{ID: "4"}})
	if got := r.lines(noon, 40, 5); len(got) != 1 || !strings.HasPrefix(got[0], "soon") {
		t.Errorf("after a gap: %q", got)
	}
	r.update(noon, kapi.Action{ID: "4", Status: kapi.StatusAborted})
	if got := r.lines(noon, 40, 5); len(got) != 0 {
		t.Errorf("at the end: %q", got)
	}
}

// The rows that fit on a screen are the most urgent of any number.
func TestRowsOfMany(t *testing.T) {
	r := newRows(false)
	for i := range 1000 {
		status := urgency[i%len(urgency)]
		r.update(noon, kapi.Action{ID: fmt.Sprintf("%03d", i*7%1000), Title: "t", Status: status, CreatedAt: int64(i % 13)})
	}
	all := r.first(1000)
	if len(all) != 1000 || !slices.IsSortedFunc(all, byUrgency) {
		t.Errorf("%d rows, in order: %v", len(all), slices.IsSortedFunc(all, byUrgency))
	}
	for _, n := range []int{0, 1, 24, 999} {
		if got := r.first(n); !slices.Equal(got, all[:n]) {
			t.Errorf("the first %d of 1000 are other ones than those of all", n)
		}
	}
	if lines := r.lines(noon, 80, 24); len(lines) != 24 || lines[23] != "and 977 more" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

func TestRowsInColour(t *testing.T) {
	r := newRows(true)
	r.update(noon, kapi.Action{ID: "1", Title: "t", Status: kapi.StatusImpacted})
	if got := r.lines(noon, 60, 5); !strings.Contains(got[0], "\x1b[33mimpacted\x1b[0m") {
		t.Errorf("got %q", got)
	}
}

func TestEstimate(t *testing.T) {
	second := func(n float64) time.Time { return noon.Add(time.Duration(n * float64(time.Second))) }
	shown := func(e *estimate, now time.Time) string {
		d, ok := e.left(now)
		if !ok {
			return "-"
		}
		return leftText(d)
	}
	t.Run("steady", func(t *testing.T) {
		// 200 s in all. The steps are uneven, but the estimate is steady.
		var e estimate
		last := time.Hour
		for i := 0.0; i < 200; i++ {
			uneven := 0.4 * float64(int(i)%3)
			e.observe(second(i), at((i+uneven)/201))
			d, ok := e.left(second(i))
			switch {
			case i < 5 && ok:
				t.Errorf("after %v s the estimate is %v, want none", i, d)
			case i >= 20 && (!ok || d > last+2*time.Second || d-time.Duration(200-i)*time.Second > 10*time.Second || d-time.Duration(200-i)*time.Second < -10*time.Second):
				t.Fatalf("after %v s the estimate is %v, %v; before it was %v", i, d, ok, last)
			}
			if ok {
				last = d
			}
		}
	})
	t.Run("follows", func(t *testing.T) { // the second half is half as fast
		var e estimate
		progress := 0.0
		for i := 0.0; i <= 200; i++ {
			if i < 100 {
				progress += 0.004
			} else {
				progress += 0.002
			}
			e.observe(second(i), at(progress))
		}
		if d, ok := e.left(second(200)); !ok || d < 170*time.Second || d > 230*time.Second {
			t.Errorf("the estimate is %v, %v, want about 200 s", d, ok)
		}
	})
	t.Run("no guess", func(t *testing.T) {
		for name, samples := range map[string][]sample{
			"unknown": nil,
			"once":    {{second(0), 0.5}},
			"a jump":  {{second(0), 0}, {second(6), 0.01}, {second(7), 0.02}, {second(8), 0.9}},
			"too short": {
				{second(0), 0}, {second(1), 0.1}, {second(2), 0.2}, {second(3), 0.3}, {second(4), 0.4},
			},
			"hardly moves":   {{second(0), 0}, {second(9), 0.001}, {second(18), 0.002}, {second(27), 0.003}, {second(36), 0.004}},
			"another phase":  {{second(0), 0}, {second(5), 0.3}, {second(10), 0.6}, {second(15), 0.9}, {second(20), 0.1}},
			"three times it": {{second(0), 0}, {second(10), 0.01}, {second(20), 0.02}, {second(21), 0.1}, {second(22), 0.2}},
		} {
			var e estimate
			now := noon
			for _, s := range samples {
				now = s.at
				e.observe(s.at, &s.progress)
			}
			if got := shown(&e, now); got != "-" {
				t.Errorf("%s: the estimate is %s", name, got)
			}
		}
	})
	t.Run("silence", func(t *testing.T) {
		var e estimate
		for i := 0.0; i <= 10; i++ {
			e.observe(second(i), at(i/100))
		}
		if a, b, c := shown(&e, second(10)), shown(&e, second(14)), shown(&e, second(16)); a != "1m30s" || b != "1m30s" || c != "-" {
			t.Errorf("the estimates are %s, %s, %s", a, b, c)
		}
		e.observe(second(20), nil)
		if got := shown(&e, second(20)); got != "-" {
			t.Errorf("of unknown progress, the estimate is %s", got)
		}
	})
	t.Run("long", func(t *testing.T) {
		var e estimate
		for i := 0.0; i < 40_000; i++ {
			e.observe(second(i), at(i/100_000))
		}
		if len(e.samples) > 2*maxSamples {
			t.Errorf("%d samples are kept", len(e.samples))
		}
		if d, ok := e.left(second(40_000)); !ok || d < 59_000*time.Second || d > 61_000*time.Second {
			t.Errorf("the estimate is %v, %v, want about 60,000 s", d, ok)
		}
	})
}

func TestLeftText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Millisecond: "5s", 5 * time.Second: "5s", 51 * time.Second: "55s", time.Minute: "1m00s",
		61 * time.Second: "1m10s", 10 * time.Minute: "10m", 601 * time.Second: "11m",
		time.Hour: "1h00m", 61 * time.Minute: "1h05m", 24 * time.Hour: "1d00h", 240 * time.Hour: "10d", 25*time.Hour + 1: "1d02h",
	} {
		if got := leftText(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	for d := time.Duration(0); d < 300*time.Hour; d += 777 * time.Millisecond {
		if text := leftText(d); len(text) > leftCell-len(" left") {
			t.Fatal(fmt.Sprint(d, " takes too much room: ", text))
		}
	}
}
