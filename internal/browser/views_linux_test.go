package browser

import (
	"context"
	_ "embed"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

//go:embed testdata/axe-core/axe.min.js
var axe string

// accessible fails the test if axe-core reports anything about what is shown, or can't tell whether a
// text has enough contrast. It can't on a gradient, so meanwhile the cards are flat, in the tinted
// colour of the gradient.
func (b *tab) accessible(view string) {
	b.t.Helper()
	b.settled()
	if !evaluate[bool](b, `"axe" in window`) {
		b.do(chromedp.Evaluate[chromedp.Void](axe))
	}
	found := evaluate[string](b, `(async () => {
		const flat = new CSSStyleSheet();
		flat.replaceSync(".row .card { background: var(--wash) !important }");
		document.adoptedStyleSheets = [flat];
		const { violations, incomplete } = await axe.run(document, { resultTypes: ["violations", "incomplete"] });
		document.adoptedStyleSheets = [];
		const unsure = incomplete.filter(({ id }) => id === "color-contrast");
		// Labels in the chart, which are meant to be soft. Or text under the banner, until the reader
		// scrolls.
		const known = ({ html, any }) => html.startsWith("<text") || any.some(({ data }) => data?.messageKey === "bgOverlap");
		for (const rule of unsure) rule.nodes = rule.nodes.filter((node) => !known(node));
		return [...violations, ...unsure.filter(({ nodes }) => nodes.length > 0)].map(({ id, help, nodes }) => id + ": " + help + "\n" + nodes.map((n) => "  " + n.html.slice(0, 200) + "\n    " + n.failureSummary).join("\n")).join("\n");
	})()`)
	if found != "" {
		b.t.Errorf("%s, %s:\n%s", b.look.name, view, found)
	}
}

// A gallery has an action of each kind.
func gallery(t *testing.T, s *site) (failed remote) {
	t.Helper()
	p := s.peer()
	start := func(spec kapi.Spec, f func(context.Context, kapi.Handle) error) {
		if _, err := p.Start(t.Context(), spec, f); err != nil {
			t.Fatal(err)
		}
	}
	start(kapi.Spec{Title: "Resharding", Description: "Moves slots 5461 to 10922 to the new shards.", Keys: []string{"reshard", "deploy"}},
		func(ctx context.Context, h kapi.Handle) error {
			h.SetProgress(0.62)
			h.SetState("slot 8832 of 10922")
			return forever(ctx, h)
		})
	start(kapi.Spec{Title: "Guild audit", Keys: []string{"audit"}}, func(ctx context.Context, h kapi.Handle) error {
		h.SetState("reading the audit log of 4,211 guilds")
		return forever(ctx, h)
	})
	start(kapi.Spec{Title: "Nightly backup", Description: "Dumps every database of db1 and sends them to the other site.", Keys: []string{"backup:db1"}},
		func(ctx context.Context, h kapi.Handle) error {
			h.SetProgress(0.35)
			if err := h.Impacted("db1 answers slowly: 2.4 s a page"); err != nil {
				return err
			}
			return forever(ctx, h)
		})
	start(kapi.Spec{Title: "Deploy 2026.11", Keys: []string{"deploy"}, Wait: -1}, forever)
	_ = p.Do(t.Context(), kapi.Spec{Title: "Migrate settings", Keys: []string{"settings"}}, func(_ context.Context, h kapi.Handle) error {
		h.SetProgress(0.8)
		return errors.New("table settings_v3: duplicate key at row 80,117")
	})
	failed = s.remote("Reindex the search", "", "search")
	s.report(failed, map[string]any{"progress": 0.44})
	s.lose(failed)
	return failed
}

// On every view axe-core finds nothing, in light and dark, from a phone to a wall display.
func TestAccessible(t *testing.T) {
	t.Parallel()
	wall := look{name: "wall-light", width: 3840, height: 2160, scale: 1}
	for _, l := range []look{desktop, desktop.inTheDark(), phone, wall} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := open(t, l)
			b.bypassPolicy() // axe-core parses HTML from strings
			b.signingIn(s)
			failed := gallery(t, s)
			b.listAndQuestions(s)
			b.actions(s, failed)
			b.offline(s)
			b.quiet()
			b.visit(elsewhere(t) + "#/action/abc")
			b.await("the link to sign in elsewhere leads back", `document.querySelector("#sign-in-view a[href$='/login?next=%2F%23%2Faction%2Fabc']").checkVisibility()`)
			b.await("the page has the program's name", `document.querySelector("#sign-in-title").textContent === "Sign in to Bot & Co" && document.title.endsWith("Bot & Co") && document.querySelector(".brand").textContent.startsWith("Bot & Co")`)
			b.accessible("signing in elsewhere")
			b.shot("elsewhere")
		})
	}
}

func (b *tab) signingIn(s *site) {
	b.t.Helper()
	b.visit(s.url + "#/link")
	b.await("the page says that the link was used", says("#sign-in-view", "has been used already"))
	b.accessible("after a bad link")
	b.visit("about:blank")
	b.visit(s.url)
	b.await("the page asks for a token", `document.activeElement.id === "token"`)
	b.accessible("signing in")
	b.press("wrong\r")
	b.await("the token is refused", `document.querySelector("#token-error").checkVisibility()`)
	b.accessible("a refused token")
	b.press(s.token + "\r")
	b.await("the list is empty", `document.querySelector("#empty").checkVisibility()`)
	b.await("the page says how to start an action", `document.querySelector("#first-action code").textContent === 'kapi run --key first --title "My first action" -- sleep 60'`)
	b.accessible("the empty list")
	whole(b)
}

func (b *tab) listAndQuestions(s *site) {
	b.t.Helper()
	b.await("all rows are shown", `document.querySelectorAll(".row").length === 6`)
	b.await("the rows are ordered by urgency", `[...document.querySelectorAll(".row")].map((row) => row.dataset.status).join() === "failed,failed,impacted,running,running,pending"`)
	b.accessible("the list")
	whole(b)
	b.shot("list")
	b.act(row("Reindex the search"))
	b.await("the question is open", `document.querySelector("#question").open`)
	b.accessible("a question with a warning")
	b.press("\x1b")
	moot := s.remote("Moot", "", "moot")
	b.await("the new row is shown", row("Moot"))
	b.act(row("Moot"))
	b.await("the question about cancelling is open", `document.querySelector("#question").open`)
	b.accessible("a question about cancelling")
	s.report(moot, map[string]any{"status": 5})
	b.await("the question says that the action has ended", `document.querySelector("#question [data-part=moot]").checkVisibility()`)
	b.accessible("a question that is moot, and a row that has ended")
	b.press("\x1b")
	b.do(click(`document.querySelector("#notices")`))
	b.await("the page says why there are no notifications", `document.querySelector("#notices-why").checkVisibility()`)
	b.visit(s.url + "#/?q=nothing")
	b.await("nothing matches", `document.querySelector("#no-match").checkVisibility()`)
	b.accessible("no match, and why there are no notices")
}

func (b *tab) actions(s *site, failed remote) {
	b.t.Helper()
	b.visit(s.url + "#/actions/" + failed.Action.ID)
	b.await("the action's page is open", `document.querySelector("#action-title").textContent === "Reindex the search" && document.querySelector(".events li")`)
	b.accessible("one action")
	whole(b)
	b.shot("action")
	s.kapi("dismiss", failed.Action.ID)
	b.await("the action has been dismissed", `document.querySelector("#action-view .status").textContent === "Aborted"`)
	b.accessible("one that has ended")
	b.visit(s.url + "#/actions/none")
	b.await("there is none", `document.querySelector("#action-title").textContent === "No such ongoing action"`)
	b.accessible("no action")
}

func (b *tab) offline(s *site) {
	b.t.Helper()
	b.visit(s.url + "#/")
	b.await("an ended action is shown", `document.querySelector("#recent").checkVisibility()`)
	b.await("the list is shown again", row("Resharding"))
	b.act(row("Resharding"))
	s.kill()
	b.await("the page is stale", `document.querySelector("#stale").checkVisibility()`)
	b.press("\r")
	b.await("an error is shown", `document.querySelector("#question [role=alert]").checkVisibility()`)
	b.accessible("a question with an error")
	b.press("\x1b")
	b.accessible("a stale list")
}

// elsewhere returns the address of the page in a program that has users of its own.
func elsewhere(t *testing.T) string {
	t.Helper()
	store, err := sqlite.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	p, err := peer.Open(t.Context(), store, peer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	nobody := func(*http.Request) (auth.Identity, error) { return auth.Identity{}, auth.ErrNoToken }
	web := httptest.NewServer(server.New(p, server.Options{Authenticate: nobody, Page: server.Page{Title: "Bot & Co", SignInURL: "/login"}}))
	t.Cleanup(func() {
		web.Close()
		_ = p.Close()
	})
	return web.URL + "/"
}

// TestAccessibleNotices checks that the accessibility test finds faults.
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
		t.Errorf("axe-core did not find %v", failed)
	}
}
