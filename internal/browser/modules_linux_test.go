package browser

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// module is a script that imports one of the page's modules.
func module(name string) string {
	return fmt.Sprintf(`import(document.querySelector("link[rel=modulepreload][href$='/%s']").href)`, name)
}

// The texts are the terminal's (cmd/kapi has the same tables).
func TestTexts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.visit(s.url)
	for script, want := range map[string]string{
		`t.leftText(0)`:                            "0s",
		`t.leftText(1)`:                            "5s",
		`t.leftText(59 * t.second)`:                "1m00s",
		`t.leftText(61 * t.second)`:                "1m10s",
		`t.leftText(9 * t.minute + 51 * t.second)`: "10m",
		`t.leftText(t.hour)`:                       "1h00m",
		`t.leftText(t.hour + 1)`:                   "1h05m",
		`t.leftText(25 * t.hour)`:                  "1d01h",
		`t.leftText(48 * t.hour)`:                  "2d",
		`t.leftText(9 * t.day + 1)`:                "10d",
		`t.ageText(-1)`:                            "0s",
		`t.ageText(59_999)`:                        "59s",
		`t.ageText(60_000)`:                        "1m00s",
		`t.ageText(3_600_000 * 25)`:                "1d01h",
		`t.percentText(undefined)`:                 "",
		`t.percentText(0.29)`:                      "29%",
		`t.percentText(0.999)`:                     "99%",
		`t.percentText(1)`:                         "100%",
		`t.plain("a\tb\n\nc\u001b[2J\u202e")`:      `a b c\u001b[2J\u202e`,
		`t.plainLines("a\r\nb\u0007")`:             "a\nb\\u0007",
		`t.shellQuote("it's")`:                     `'it'\''s'`,
		`t.shellQuote("http://h:1/x")`:             "http://h:1/x",
		`t.shellQuote("")`:                         "''",
		`t.stateText("since 2026-11-26T04:10:00Z;").replace(t.localTime(Date.parse("2026-11-26T04:10:00Z")), "then")`: "since then;",
		`String(t.notProvenDead({ status: 3, state: "x; not proven dead" }))`:                                         "true",
		`String(t.notProvenDead({ status: 2, state: "x; not proven dead" }))`:                                         "false",
	} {
		if got := evaluate[string](b, module("text.js")+`.then((t) => `+script+`)`); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}

// The estimate is the terminal's (cmd/kapi has the same cases).
func TestEstimate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.visit(s.url)
	type sample [2]float64 // seconds, progress
	steady := func(until float64) (all []sample) {
		for i := 0.0; i <= until; i++ {
			all = append(all, sample{i, i / 100})
		}
		return all
	}
	for name, tt := range map[string]struct {
		samples []sample
		at      float64
		want    string
	}{
		"nothing":       {nil, 10, "-"},
		"once":          {[]sample{{0, 0.5}}, 10, "-"},
		"steady":        {steady(10), 10, "1m30s"},
		"a pause":       {steady(10), 14, "1m30s"},
		"silence":       {steady(10), 16, "-"},
		"a jump":        {[]sample{{0, 0}, {6, 0.01}, {7, 0.02}, {8, 0.9}}, 8, "-"},
		"too short":     {[]sample{{0, 0}, {1, 0.1}, {2, 0.2}, {3, 0.3}, {4, 0.4}}, 4, "-"},
		"hardly moves":  {[]sample{{0, 0}, {9, 0.001}, {18, 0.002}, {27, 0.003}, {36, 0.004}}, 36, "-"},
		"another phase": {[]sample{{0, 0}, {5, 0.3}, {10, 0.6}, {15, 0.9}, {20, 0.1}}, 20, "-"},
		"unknown again": {append(steady(20), sample{21, -1}), 21, "-"},
		"over":          {steady(100), 100, "-"},
	} {
		data, err := json.Marshal(tt.samples)
		if err != nil {
			t.Fatal(err)
		}
		got := evaluate[string](b, fmt.Sprintf(`Promise.all([%s, %s]).then(([{ Estimate }, { leftText }]) => {
			const e = new Estimate();
			for (const [at, progress] of %s ?? []) e.observe(1000 * at, progress < 0 ? undefined : progress);
			const left = e.left(1000 * %v);
			return left === undefined ? "-" : leftText(left);
		})`, module("estimate.js"), module("text.js"), data, tt.at))
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	long := evaluate[string](b, module("estimate.js")+`.then(({ Estimate }) => {
		const e = new Estimate();
		for (let i = 0; i < 40000; i++) e.observe(1000 * i, i / 100000);
		const left = e.left(40000 * 1000) / 1000;
		return [e.samples.length <= 128, left > 59000 && left < 61000].join();
	})`)
	if long != "true,true" {
		t.Errorf("a long one: %s", long)
	}
}

// List and gateway are merged by the higher seq, whatever comes first.
func TestModel(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.visit(s.url)
	for name, tt := range map[string]struct{ script, want string }{
		"a list": {`m.list([a("x", 1), a("y", 2)], "e", 2)`, "x1 y2 |  | counts 0,2,0,0"},
		"the list is older": {
			`m.update(a("x", 5)); m.list([a("x", 3), a("y", 2)], "e", 4)`, "x5 y2 |  | counts 0,2,0,0",
		},
		"the list is newer": {
			`m.update(a("x", 1)); m.list([a("x", 3, 3)], "e", 4)`, "x3 |  | counts 0,0,0,1",
		},
		"what has ended stays so": {
			`m.list([a("x", 1)], "e", 1); m.update(a("x", 5, 5)); m.list([a("x", 1)], "e", 4); m.sweep(1e9); m.list([a("x", 1)], "e", 4)`,
			" | x completed | counts 0,0,0,0",
		},
		"what the list lacks has ended, unless it is newer": {
			`m.list([a("x", 1), a("y", 2)], "e", 2); m.update(a("z", 9)); m.list([], "e", 5); m.settle(1e9)`, "z9 | y unseen, x unseen | counts 0,1,0,0",
		},
		"the gateway still tells how": {
			`m.list([a("x", 1)], "e", 1); m.list([], "e", 3); m.update(a("x", 3, 5)); m.settle(1e9)`, " | x completed | counts 0,0,0,0",
		},
		"it tells so later": {
			`m.list([a("x", 1)], "e", 1); m.list([], "e", 3); m.settle(1e9); m.update(a("x", 3, 4))`, " | x aborted | counts 0,0,0,0",
		},
		"another history": {
			`m.list([a("x", 7), a("y", 8)], "e", 8); m.list([a("x", 3)], "f", 3); m.settle(1e9)`, "x3 | y unseen | counts 0,1,0,0",
		},
		"only the last endings": {
			`m.list([], "e", 0); for (let i = 1; i < 100; i++) m.update(a("x" + i, i, 5)); m.endings = [m.endings[0], m.endings[49], m.endings[50]].filter(Boolean)`,
			" | x99 completed, x50 completed | counts 0,0,0,0",
		},
		"news": {
			`m.list([a("x", 1)], "e", 1); m.update(a("x", 2, 2)); m.update(a("x", 3, 1)); m.update(a("x", 4, 3)); m.update(a("x", 5, 4)); m.endings = news.map((n) => ({ action: { id: n }, how: "" }))`,
			" | impacted , recovered , failed , aborted  | counts 0,0,0,0",
		},
	} {
		got := evaluate[string](b, module("model.js")+`.then(({ Model }) => {
			const news = [], m = new Model({ changed() {}, told: (_, what) => news.push(what) });
			const a = (id, seq, status = 1) => ({ id, seq, status, title: id, description: "", keys: [], created_at: seq, updated_at: seq });
			`+tt.script+`;
			const ongoing = [...m.entries.values()].filter((e) => !e.ended).map((e) => e.id + e.action.seq).sort().join(" ");
			return ongoing + " | " + m.endings.map((e) => e.action.id + " " + e.how).join(", ") + " | counts " + m.counts.join();
		})`)
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// A history is bounded, and keeps its ends and the changes of status.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.visit(s.url)
	got := evaluate[string](b, module("model.js")+`.then(({ Model }) => {
		const m = new Model({ changed() {}, told() {} });
		for (let i = 1; i <= 20000; i++) {
			m.update({ id: "x", seq: i, status: i === 5000 ? 2 : 1, title: "x", description: "", keys: [], created_at: 0, updated_at: 100 * i, progress: i / 20000, state: "step " + i });
		}
		const { samples, events } = m.get("x");
		return [samples.length <= 240, samples[0].at, samples.at(-1).at, samples.some((s) => s.status === 2), events.length <= 60].join();
	})`)
	if !strings.HasPrefix(got, "true,100,2000000,true,true") {
		t.Error(got)
	}
}
