package browser

import (
	"fmt"
	"strings"
	"testing"
)

// module returns a script that imports one of the page's modules.
func module(name string) string {
	return fmt.Sprintf(`import(document.querySelector("link[rel=modulepreload][href$='/%s']").href)`, name)
}

// The modules are tested separately, on the sign-in page.
func TestModules(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.visit(s.url)
	for _, test := range []func(*testing.T, *tab){
		texts, estimates, merges, historyIsBounded, firstOfMany, listOrders, announces, clocks, heartbeats, oneAction,
	} {
		test(t, b)
	}
	b.quiet()
}

// List and gateway are merged by the higher seq, whichever arrives first.
func merges(t *testing.T, b *tab) {
	t.Helper()
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
		"what ended unseen neither runs nor can be cancelled": {
			`m.list([a("x", 1)], "e", 1); m.list([], "e", 3); m.settle(1e9); m.update(a("y", m.get("x").action.status === 4 ? 4 : 1))`, "y4 | x unseen | counts 0,1,0,0",
		},
		"it had not": {
			`m.list([a("x", 1)], "e", 1); m.list([], "e", 3); m.settle(1e9); m.update(a("x", 4)); m.endings = [{ action: { id: "how" }, how: String(m.get("x").how) }]`,
			"x4 | how undefined | counts 0,1,0,0",
		},
		"another history, of which the gateway tells first": {
			`m.list([a("x", 7)], "e", 8); m.enter("f"); m.update(a("x", 5)); m.list([a("x", 3)], "f", 3)`, "x5 |  | counts 0,1,0,0",
		},
		"who names no history": {`m.list([a("x", 7)], "e", 8); m.list([a("x", 3)], "", 3)`, "x7 |  | counts 0,1,0,0"},
		"when it was heard is known for longer than it changes": {
			`m.list([a("x", 1)], "e", 1); m.heard("x", 50, 90); m.heard("x", 50, 120); const x = m.get("x"); m.endings = [{ action: { id: x.heardAt }, how: x.checkedAt }]`,
			"x1 | 50 120 | counts 0,1,0,0",
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
			const news = [], m = new Model({ changed() {}, news: (_, what) => news.push(what) });
			const a = (id, seq, status = 1) => ({ id, seq, status, title: id, description: "", keys: [], created_at: seq, updated_at: seq });
			`+tt.script+`;
			const ongoing = [...m.entries.values()].filter((e) => !e.ended).map((e) => e.id + e.action.seq).sort().join(" ");
			return ongoing + " | " + m.endings.map((e) => e.action.id + " " + e.how).join(", ") + " | counts " + m.counts.join();
		})`)
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

// A history is bounded, and keeps its ends and the changes of status.
func historyIsBounded(t *testing.T, b *tab) {
	t.Helper()
	got := evaluate[string](b, module("model.js")+`.then(({ Model }) => {
		const m = new Model({ changed() {}, news() {} });
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

// Of many entries that fit the filter, the list gets the first, in order, and how many there are.
func firstOfMany(t *testing.T, b *tab) {
	t.Helper()
	got := evaluate[string](b, module("model.js")+`.then(({ Model, order }) => {
		const m = new Model({ changed() {}, news() {} });
		const all = [...Array(500).keys()].map((i) => ({ id: "x" + (i * 7) % 500, seq: i + 1, status: i % 4, title: "t" + i % 2, description: "",
			keys: [], created_at: i % 13, updated_at: 1 }));
		m.list(all, "e", 500);
		const filter = { words: ["t1"], statuses: new Set() };
		const sorted = m.first(filter, 1000);
		const right = sorted.entries.length === 250 && sorted.matching === 250 &&
			sorted.entries.every((entry, i, all) => i === 0 || order(all[i - 1], entry) < 0);
		return [right, ...[0, 1, 20, 249].map((n) => {
			const some = m.first(filter, n);
			return some.matching === 250 && some.entries.join() === sorted.entries.slice(0, n).join() && some.entries.every((e, i) => e === sorted.entries[i]);
		})].join();
	})`)
	if got != "true,true,true,true,true" {
		t.Error(got)
	}
}

// The list moves as few rows as possible, and computes a new order only if it may have changed.
func listOrders(t *testing.T, b *tab) {
	t.Helper()
	for numbers, want := range map[string]string{
		"[]": "", "[0]": "0", "[-1,-1]": "", "[0,1,2,3]": "0,1,2,3", "[3,0,1,2]": "1,2,3", "[1,2,3,0]": "0,1,2", "[2,-1,0,1]": "2,3", "[4,3,2,1]": "3",
	} {
		got := evaluate[string](b, module("list.js")+`.then(({ longestRise }) => [...longestRise(`+numbers+`)].sort().join())`)
		if got != want {
			t.Errorf("%s: got %s, want %s", numbers, got, want)
		}
	}
	got := evaluate[string](b, fmt.Sprintf(`Promise.all([%s, %s]).then(([{ Model }, { List }]) => {
		let list;
		const m = new Model({ changed: (entry) => list.changed(entry), news() {} });
		list = new List(m, () => {});
		const a = (id, seq, state, status = 1) => ({ id, seq, status, state, title: id, description: "", keys: [], created_at: 1, updated_at: 1 });
		m.list([a("x", 1, "fits"), a("y", 2, "no")], "e", 2);
		list.setFilter({ words: ["fits"], statuses: new Set() });
		const ordered = [];
		for (const next of [a("x", 3, "fits, too"), a("y", 4, "nor now"), a("x", 5, "fits", 2), a("y", 6, "fits"), a("y", 7, "no")]) {
			list.paint(0, false);
			m.update(next);
			ordered.push(list.unordered);
		}
		list.paint(0, false);
		document.querySelector("#list").replaceChildren();
		return ordered.join();
	})`, module("model.js"), module("list.js")))
	if want := "false,false,true,true,true"; got != want {
		t.Errorf("got new orders %s, want %s", got, want)
	}
}

// A text that is announced twice must be spoken twice: setting the same text is no change to a screen
// reader.
func announces(t *testing.T, b *tab) {
	t.Helper()
	evaluate[bool](b, module("tab.js")+`.then(({ Announcer }) => (window.announcer = new Announcer()).say("once") ?? true)`)
	region := `document.querySelector("#announcements").textContent`
	b.await("the text is announced", region+` === "once"`)
	if again := evaluate[string](b, `(announcer.say("once"), `+region+`)`); again != "" {
		t.Errorf("got %q in between, want an empty region", again)
	}
}

// Times are by the server's clock, which responses give in whole seconds.
func clocks(t *testing.T, b *tab) {
	t.Helper()
	got := evaluate[string](b, module("api.js")+`.then(async (api) => {
		const real = [Date.now, fetch], at = 1.8e12;
		Date.now = () => at;
		const seen = [];
		for (const off of [0, 1500, 2100, 1800, 2900, 500]) {
			window.fetch = async () => ({ ok: true, text: async () => "[]", headers: new Map([["Date", new Date(at + off - 500).toISOString()]]) });
			await api.list();
			seen.push(api.now() - at);
		}
		[Date.now, window.fetch] = real;
		await api.list().catch(() => {});
		return seen.join();
	})`)
	if want := "0,0,2100,2100,2100,0"; got != want {
		t.Errorf("got clock differences %s, want %s", got, want)
	}
}

// When the network changes, the connection may be lost without a close.
func heartbeats(t *testing.T, b *tab) {
	t.Helper()
	got := evaluate[string](b, module("gateway.js")+`.then(({ Gateway }) => {
		const real = WebSocket, sent = [];
		let socket;
		window.WebSocket = class {
			static OPEN = 1;
			readyState = 1;
			constructor() { socket = this; }
			send(text) { sent.push(JSON.parse(text).op); }
			close() {}
		};
		const said = [], on = (what) => () => said.push(what);
		const g = new Gateway({ ready: on("ready"), resumed: on("resumed"), lost: on("lost"), refused: on("refused"), outdated: on("outdated"), action() {} });
		g.start();
		const hear = (message) => socket.onmessage({ data: JSON.stringify(message) });
		hear({ op: 3, d: { heartbeat_interval: 60000 } });
		hear({ op: 0, t: "READY", s: 7, d: { session_id: "e.x" } });
		dispatchEvent(new Event("online"));
		g.stop();
		window.WebSocket = real;
		return [...sent, ...said].join();
	})`)
	if want := "4,1,ready"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The fields of an action keep their places while it changes, and the selection stays.
func oneAction(t *testing.T, b *tab) {
	t.Helper()
	got := evaluate[string](b, fmt.Sprintf(`Promise.all([%s, %s]).then(([{ Model }, { Detail }]) => {
		const m = new Model({ changed() {}, news() {} }), detail = new Detail(m);
		const start = Date.now() - 7200e3, begun = { runner: { host: "db1", heard_at: start } };
		const a = (seq, more) => ({ id: "x", seq, status: 1, title: "x", description: "", keys: [], created_at: start, updated_at: start + 1000 * seq, progress: 0.1, ...more });
		const names = () => [...detail.parts.facts.children].filter((fact) => !fact.hidden).map((fact) => fact.firstElementChild.textContent).join();
		m.list([a(1)], "e", 1);
		detail.open("x");
		const first = detail.parts.events.lastElementChild, seen = [names()];
		m.update(a(2, { ...begun, started_at: start, cancel_requested_at: start, state: "one" }));
		detail.drawnAt = 0;
		detail.tick(Date.now(), false);
		seen.push(names());
		seen.push(detail.parts.events.lastElementChild === first, detail.parts.chart.textContent.includes("2h"));
		m.list([], "e", 9);
		m.settle(1e9);
		detail.tick(Date.now(), false);
		seen.push(names(), detail.parts.status.textContent, detail.parts.cancel.getAttribute("aria-disabled"));
		detail.open(undefined);
		return seen.join(" | ");
	})`, module("model.js"), module("detail.js")))
	want := "Running for,Created,Started,Last change,Runner,Seq" +
		" | Running for,Created,Started,Last change,Runner,Last heard,Asked to stop,Seq | true | false" +
		" | Created,Started,Last change,Runner,Last heard,Asked to stop,Seq | Ended | true"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
