package browser

import (
	"encoding/json"
	"fmt"
	"testing"
)

// The texts equal the terminal's (cmd/kapi has the same tables).
func texts(t *testing.T, b *tab) {
	t.Helper()
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
		`t.leftText(9 * 24 * t.hour + 1)`:          "10d",
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
		`t.plain("a\u200bb\u061c\u2060\ufeff")`:    `a\u200bb\u061c\u2060\ufeff`,
		`t.plain("👨\u200d👩")`:                      "👨\u200d👩",
		`t.nameOf({ title: " \u3000\u200d" })`:     "(no title)",
		`t.nameOf({ title: "x " })`:                "x ",
		`t.shellQuote("it's")`:                     `'it'\''s'`,
		`t.shellQuote("http://h:1/x")`:             "http://h:1/x",
		`t.shellQuote("")`:                         "''",
		`t.stateText("since 2026-11-26T04:10:00Z;").replace(t.localTime(Date.parse("2026-11-26T04:10:00Z")), "then")`: "since then;",
		`String(t.notProvenDead({ status: 3, not_proven_dead: true }))`:                                               "true",
		`String(t.notProvenDead({ status: 3, state: "x; not proven dead" }))`:                                         "false",
		`t.waitsText({})`: "",
		`t.waitsText({ waits_for: { key: "k", action: "id", title: "Re\nindex" } })`:                               "Re index (id), for key k",
		`t.waitsText({ waits_for: { operation: "reshard" } })`:                                                     "a program that offers reshard",
		`t.waitsText({ waits_for: { operation: "reshard", action: "id", title: "Resharding" } })`:                  "Resharding (id), for a turn of reshard",
		`t.whyNotCancel({ status: 1, no_cancel: "half\u202e changed" }, 0)`:                                        `It can't be cancelled now: half\u202e changed`,
		`t.waitsText({ waits_for: { key: "k" } })`:                                                                 "key k",
		`t.askedText({ cancel_requested_at: 1e12, cancelled_by: "o\u202eps" }).replace(t.localTime(1e12), "then")`: `then, by o\u202eps`,
		`t.askedText({ cancel_requested_at: 1e12 }).replace(t.localTime(1e12), "then")`:                            "then",
	} {
		if got := evaluate[string](b, module("text.js")+`.then((t) => `+script+`)`); got != want {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
	// When a runner was heard, when that was asked, and what is then shown. Times are in seconds.
	for _, tt := range []struct {
		status, heard, checked, now int
		want                        string
	}{
		{1, 100, 100, 100, "heard just now"},
		{1, 100, 110, 115, "heard just now"},
		{1, 100, 119, 178, "heard just now"},
		{1, 100, 100, 11000, ""}, // from a change three hours ago: nobody has asked since
		{1, 100, 119, 179, ""},
		{2, 100, 120, 125, "heard 25s ago"},
		{3, 100, 120, 300, "last heard then"},
		{5, 100, 120, 300, ""},
	} {
		got := evaluate[string](b, module("text.js")+fmt.Sprintf(`.then((t) => t.heardText({ action: { status: %d, runner: {} }, heardAt: %d, checkedAt: %d }, %d)
			.replace(t.localTime(100e3, { now: 300e3 }), "then"))`, tt.status, 1000*tt.heard, 1000*tt.checked, 1000*tt.now))
		if got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// The estimates equal the terminal's (cmd/kapi has the same cases).
func estimates(t *testing.T, b *tab) {
	t.Helper()
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
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
	long := evaluate[string](b, module("estimate.js")+`.then(({ Estimate }) => {
		const e = new Estimate();
		for (let i = 0; i < 40000; i++) e.observe(1000 * i, i / 100000);
		const left = e.left(40000 * 1000) / 1000;
		return [e.samples.length <= 128, left > 59000 && left < 61000].join();
	})`)
	if long != "true,true" {
		t.Errorf("a long one: got %s", long)
	}
}
