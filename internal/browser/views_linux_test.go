package browser

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kettubot/kapi"
)

//go:embed testdata/axe-core/axe.min.js
var axe string

// accessible fails the test if axe-core finds anything against what is shown.
func (b *tab) accessible(view string) {
	b.t.Helper()
	b.settled()
	found := evaluate[string](b, `(async () => {
		if (!window.axe) {`+axe+`}
		const { violations } = await axe.run(document, { resultTypes: ["violations"] });
		return violations.map(({ id, help, nodes }) => id + ": " + help + "\n" + nodes.map((n) => "  " + n.html.slice(0, 200) + "\n    " + n.failureSummary).join("\n")).join("\n");
	})()`)
	if found != "" {
		b.t.Errorf("%s, %s:\n%s", b.look.name, view, found)
	}
}

// A gallery has an action of each kind.
func gallery(t *testing.T, s *site) (failed remote) {
	t.Helper()
	p := s.peer()
	start := func(spec kapi.Spec, f func(context.Context, *kapi.Handle) error) {
		if _, err := p.Start(t.Context(), spec, f); err != nil {
			t.Fatal(err)
		}
	}
	start(kapi.Spec{Title: "Resharding", Description: "Moves slots 5461 to 10922 to the new shards.", Keys: []string{"reshard", "deploy"}},
		func(ctx context.Context, h *kapi.Handle) error {
			h.Progress(0.62)
			h.State("slot 8832 of 10922")
			return forever(ctx, h)
		})
	start(kapi.Spec{Title: "Guild audit", Keys: []string{"audit"}}, func(ctx context.Context, h *kapi.Handle) error {
		h.State("reading the audit log of 4,211 guilds")
		return forever(ctx, h)
	})
	start(kapi.Spec{Title: "Nightly backup", Description: "Dumps every database of db1 and sends them to the other site.", Keys: []string{"backup:db1"}},
		func(ctx context.Context, h *kapi.Handle) error {
			h.Progress(0.35)
			if err := h.Impacted("db1 answers slowly: 2.4 s a page"); err != nil {
				return err
			}
			return forever(ctx, h)
		})
	start(kapi.Spec{Title: "Deploy 2026.11", Keys: []string{"deploy"}, Wait: -1}, forever)
	_ = p.Do(t.Context(), kapi.Spec{Title: "Migrate settings", Keys: []string{"settings"}}, func(_ context.Context, h *kapi.Handle) error {
		h.Progress(0.8)
		return errors.New("table settings_v3: duplicate key at row 80,117")
	})
	failed = s.remote("Reindex the search", "", "search")
	s.report(failed, map[string]any{"progress": 0.44})
	s.report(failed, map[string]any{"status": 3, "state": "no word from db2 since 2026-11-26T04:10:00Z; not proven dead; it last said: shard 12"})
	return failed
}

// On every view axe-core finds nothing, in light and dark, from a phone to a wall.
func TestAccessible(t *testing.T) {
	t.Parallel()
	wall := look{name: "wall-light", width: 3840, height: 2160, scale: 1}
	for _, l := range []look{desktop, desktop.inTheDark(), phone, phone.inTheDark(), wall} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := open(t, l)
			b.bypassPolicy() // for axe-core, which makes HTML of strings
			b.visit(s.url)
			b.await("it asks for a token", `document.activeElement.id === "token"`)
			b.accessible("signing in")
			b.press("wrong\r")
			b.await("it is refused", `document.querySelector("#token-error").checkVisibility()`)
			b.accessible("a refused token")
			b.press(s.token + "\r")
			b.await("the list is empty", `document.querySelector("#empty").checkVisibility()`)
			b.accessible("the empty list")

			failed := gallery(t, s)
			b.await("all are there", `document.querySelectorAll(".row").length === 6`)
			b.await("in the order of their urgency", `[...document.querySelectorAll(".row")].map((row) => row.dataset.status).join() === "failed,failed,impacted,running,running,pending"`)
			b.accessible("the list")
			whole(b)
			b.shot("list")
			b.do(click(row("Reindex the search") + `.querySelector(".act")`))
			b.await("it is asked", `document.querySelector("#question").open`)
			b.accessible("a question with a warning")
			b.press("\x1b")
			b.visit(s.url + "#/actions/" + failed.Action.ID)
			b.await("its page is open", `document.querySelector("#action-title").textContent === "Reindex the search" && document.querySelector(".events li")`)
			b.accessible("one action")
			whole(b)
			b.shot("action")
			b.visit(s.url + "#/actions/none")
			b.await("there is none", `document.querySelector("#action-title").textContent === "Not going on"`)
			b.accessible("no action")
			b.visit(s.url + "#/?q=nothing")
			b.await("nothing matches", `document.querySelector("#no-match").checkVisibility()`)
			b.accessible("no match")
			b.visit(s.url + "#/")
			s.kapi("dismiss", failed.Action.ID)
			b.await("it has ended", `document.querySelector("#recent").checkVisibility()`)
			s.kill()
			b.await("it is stale", `document.querySelector("#stale").checkVisibility()`)
			b.accessible("a stale list")
			b.quiet()
		})
	}
}

// The test of accessibility finds what is wrong.
func TestAccessibleNotices(t *testing.T) {
	t.Parallel()
	b := open(t, desktop)
	b.visit("data:text/html,<html lang=en><title>x</title><main><h1>x</h1><img src=x><p style='color:%23aaa'>pale</p></main>")
	var failed []string
	for _, rule := range []string{"image-alt", "color-contrast"} {
		found := evaluate[string](b, `(async () => { if (!window.axe) {`+axe+`} return (await axe.run(document)).violations.map((v) => v.id).join() })()`)
		if !strings.Contains(found, rule) {
			failed = append(failed, rule)
		}
	}
	if len(failed) > 0 {
		t.Errorf("axe-core doesn't find %v", failed)
	}
}

// The filter is in the address, and the address in the filter.
func TestFilter(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gallery(t, s)
	b := open(t, desktop)
	b.signIn(s)
	b.await("all are there", `document.querySelectorAll(".row").length === 6`)
	titles := `[...document.querySelectorAll(".row h2")].map((h) => h.textContent).join()`
	b.keystroke("/", "Slash")
	b.await("the slash leads to it", `document.activeElement.id === "filter-text"`)
	b.press("DEPLOY moves")
	b.await("words of title, description and keys", titles+` === "Resharding"`)
	b.await("in the address", `location.hash === "#/?q=DEPLOY+moves"`)
	b.visit(s.url + "#/?status=failed,pending")
	b.await("statuses of the address", titles+` === "Migrate settings,Reindex the search,Deploy 2026.11"`)
	b.await("are those of the buttons", `[...document.querySelectorAll(".chip[aria-pressed=true]")].map((chip) => chip.dataset.status).join() === "failed,pending"`)
	b.do(click(`document.querySelector(".chip[data-status=pending]")`))
	b.await("a button changes them", titles+` === "Migrate settings,Reindex the search" && location.hash === "#/?status=failed"`)
	b.visit(s.url + "#/?q=%F0%9F%98%80")
	b.await("nothing matches", `document.querySelector("#no-match").checkVisibility() && document.querySelector("#filter-text").value === "😀"`)
	b.do(click(`document.querySelector("#filter-clear")`))
	b.await("all are there again", `document.querySelectorAll(".row").length === 6 && location.hash === "#/"`)
	b.quiet()
}

// Rows glide to where they belong, and don't where the reader wants no motion.
func TestGlides(t *testing.T) {
	t.Parallel()
	for _, still := range []bool{false, true} {
		t.Run(fmt.Sprint("still: ", still), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := s.peer()
			b := open(t, look{name: "glide", width: 1280, height: 800, scale: 1, still: still})
			b.signIn(s)
			var last *held
			for i := range 5 {
				last = hold(t, p, fmt.Sprint("action ", i))
				time.Sleep(2 * time.Millisecond) // each is older than the next
			}
			b.await("all are there", `document.querySelectorAll(".row").length === 5`)
			b.settled()
			evaluate[bool](b, `(() => {
				window.seen = [];
				const look = () => {
					const row = `+row("action 0")+`;
					seen.push(Math.round(row.getBoundingClientRect().top));
					requestAnimationFrame(look);
				};
				look();
				return true;
			})()`)
			last.end <- errors.New("it went wrong")
			b.await("the failed one is on top", `document.querySelector(".row h2").textContent === "action 4"`)
			b.settled()
			places := evaluate[int](b, `new Set(seen).size`)
			if still && places != 2 || !still && places < 5 {
				t.Errorf("the row below was seen at %d places", places)
			}
		})
	}
}

// Everything that the page needs is asked for at once, when the HTML is there.
func TestLoadsInOneRoundTrip(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.signIn(s)
	b.do(chromedp.Reload())
	b.await("it is there again", `document.querySelector("#live-text")?.textContent === "Live"`)
	late := evaluate[string](b, `(() => {
		const named = new Set([...document.querySelectorAll("link, script")].map((e) => e.href || e.src));
		return performance.getEntriesByType("resource").map((r) => r.name).filter((name) => !named.has(name) && !name.startsWith("data:")).join();
	})()`)
	if late != "" {
		t.Errorf("asked for later: %s", late)
	}
	lists := 0
	for _, address := range b.addresses() {
		if strings.HasSuffix(address, "/v4/kapi/actions") {
			lists++
		}
	}
	if lists > 3 { // before signing in, after it, and once for the page that was loaded again
		t.Errorf("the list was asked for %d times", lists)
	}
	b.quiet()
}
