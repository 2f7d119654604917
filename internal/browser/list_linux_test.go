package browser

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
)

// The filter follows the address, and the address follows the filter.
func TestFilter(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gallery(t, s)
	b := open(t, desktop)
	b.signIn(s)
	b.await("all rows are shown", `document.querySelectorAll(".row").length === 6`)
	titles := `[...document.querySelectorAll(".row h2")].map((h) => h.textContent).join()`
	b.do(chromedp.Evaluate[chromedp.Void](`void document.querySelector("#filter-text").focus()`))
	b.press("DEPLOY moves")
	b.await("words of title, description and keys match", titles+` === "Resharding"`)
	b.await("the address has the filter", `location.hash === "#/?q=DEPLOY+moves"`)
	b.do(click(`document.querySelector(".row h2 a")`))
	b.await("the action's page is open", `document.querySelector("#action-view").checkVisibility()`)
	b.do(click(`document.querySelector(".back")`))
	b.await("going back shows the filtered list", titles+` === "Resharding" && location.hash === "#/?q=DEPLOY+moves"`)
	b.visit(s.url + "#/?status=failed,pending")
	b.await("the statuses in the address filter the list", titles+` === "Migrate settings,Reindex the search,Deploy 2026.11"`)
	b.await("the buttons show the statuses", `[...document.querySelectorAll(".chip[aria-pressed=true]")].map((chip) => chip.dataset.status).join() === "failed,pending"`)
	b.do(click(`document.querySelector(".chip[data-status=pending]")`))
	b.await("a button changes the statuses", titles+` === "Migrate settings,Reindex the search" && location.hash === "#/?status=failed"`)
	b.visit(s.url + "#/?q=%F0%9F%98%80")
	b.await("nothing matches", `document.querySelector("#no-match").checkVisibility() && document.querySelector("#filter-text").value === "😀"`)
	b.do(click(`document.querySelector("#filter-clear")`))
	b.await("all rows are shown again", `document.querySelectorAll(".row").length === 6 && location.hash === "#/"`)
	b.quiet()
}

// Rows glide to their new place, unless the reader wants no motion.
func TestGlides(t *testing.T) {
	t.Parallel()
	for _, still := range []bool{false, true} {
		t.Run(fmt.Sprint("still: ", still), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			p := s.peer()
			b := open(t, look{name: "glide", width: 1280, height: 800, scale: 1, still: still})
			b.signIn(s)
			var all []*held
			for i := range 5 {
				o := hold(t, p, fmt.Sprint("action ", i))
				all = append(all, o)
				kapitest.Eventually(t, "the next action is younger", func() bool { return time.Now().UnixMilli() > o.action.CreatedAt })
			}
			b.await("all rows are shown", `document.querySelectorAll(".row").length === 5`)
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
			all[4].end <- errors.New("it went wrong")
			b.await("the failed one is on top", `document.querySelector(".row h2").textContent === "action 4"`)
			b.settled()
			b.await("the row below has moved", `new Set(seen).size > 1`)
			places := evaluate[int](b, `new Set(seen).size`)
			if still && places != 2 || !still && places < 5 {
				t.Errorf("the row below was seen at %d positions", places)
			}
			if !still {
				glidesOn(t, b, all)
			}
			staysPut(t, b, all[0])
			b.quiet()
		})
	}
}

// glidesOn checks that with all animations paused at their start, nothing is seen to move, however
// often the order changes.
func glidesOn(t *testing.T, b *tab, all []*held) {
	t.Helper()
	evaluate[bool](b, `(() => {
		const animate = Element.prototype.animate;
		Element.prototype.animate = function (...how) {
			const animation = animate.apply(this, how);
			animation.pause();
			return animation;
		};
		return true;
	})()`)
	place := row("action 0") + `.getBoundingClientRect().top`
	before := evaluate[float64](b, place)
	for _, i := range []int{3, 2} {
		all[i].end <- errors.New("it went wrong")
		b.await("the failed row is higher up", fmt.Sprintf(`%s.matches(".row[data-status=failed] + .row") && %s.compareDocumentPosition(%s) === Node.DOCUMENT_POSITION_PRECEDING`,
			row("action 0"), row("action 0"), row(fmt.Sprint("action ", i))))
		if after := evaluate[float64](b, place); after < before-1 || after > before+1 {
			t.Errorf("after action %d the row below has jumped from %v to %v", i, before, after)
		}
	}
	evaluate[bool](b, `(document.getAnimations().forEach((animation) => animation.play()), true)`)
	b.settled()
}

// staysPut checks that a new state or progress moves nothing below the row, and that all bars have the
// same length.
func staysPut(t *testing.T, b *tab, first *held) {
	t.Helper()
	place := row("action 1") + `.getBoundingClientRect().top`
	before := evaluate[float64](b, place)
	for _, state := range []string{"slot 1", strings.Repeat("slot 2 of many, ", 30) + "or more", ""} {
		first.handle.SetState(state)
		b.await("the state is shown", row("action 0")+`.querySelector(".state").textContent === `+quoted(state))
		if after := evaluate[float64](b, place); after != before {
			t.Errorf("the state %.10q has moved the row below from %v to %v", state, before, after)
		}
	}
	first.handle.SetProgress(0.5)
	b.await("the progress is shown", row("action 0")+`.querySelector(".percent").textContent === "50%"`)
	if lengths := evaluate[int](b, `new Set([...document.querySelectorAll(".row .bar")].filter((bar) => bar.checkVisibility()).map((bar) => bar.getBoundingClientRect().width)).size`); lengths != 1 {
		t.Errorf("the bars have %d different lengths", lengths)
	}
	if after := evaluate[float64](b, place); after != before {
		t.Errorf("the progress has moved the row below from %v to %v", before, after)
	}
}

// In a long list only the rows near the visible part are complete, whether the reader scrolls or uses
// the keyboard, and completing them moves nothing that is being read.
func TestLongList(t *testing.T) {
	t.Parallel()
	const many = 60
	s := newSite(t)
	p := s.peer()
	for i := range many {
		if _, err := p.Start(t.Context(), kapi.Spec{Title: fmt.Sprintf("action %02d", i), Description: strings.Repeat("It takes long. ", i%3*10)}, forever); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, desktop)
	b.signIn(s)
	b.await("all rows are shown", fmt.Sprintf(`document.querySelectorAll(".row h2").length === %d`, many))
	// Actions started in the same millisecond have no order that the titles tell.
	order := evaluate[[]string](b, `[...document.querySelectorAll(".row h2")].map((title) => title.textContent)`)
	first, last := order[0], order[many-1]
	few := `((n) => n > 3 && n < 20)(document.querySelectorAll(".row .act").length)`
	b.await("few rows are complete", few)
	b.do(chromedp.Evaluate[chromedp.Void](`scrollTo(0, document.body.scrollHeight)`))
	b.await("the rows at the end are complete", row(last)+`.querySelector(".status")?.textContent === "Running" && `+few)
	b.await("the rows at the beginning are not complete any more", `!`+row(first)+`.querySelector(".act")`)

	// Backwards with the keyboard, past all rows that were never seen.
	b.do(chromedp.Evaluate[chromedp.Void](row(last) + `.querySelector("a").focus()`))
	for i := many - 1; i > many-25; i-- {
		title := order[i-1]
		for range 2 { // the button, then the title; or the title alone
			call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "Tab", Code: "Tab", WindowsVirtualKeyCode: 9, Modifiers: 8})
			call(b, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: "Tab", Code: "Tab", WindowsVirtualKeyCode: 9, Modifiers: 8})
			if evaluate[bool](b, `document.activeElement.textContent === `+quoted(title)) {
				break
			}
		}
		if at := evaluate[string](b, `document.activeElement.textContent`); at != title {
			t.Fatalf("before %q the keyboard leads to %q, want %q", order[i], at, title)
		}
	}
	// The row being read stays in place while rows above it are completed.
	evaluate[bool](b, `(() => {
		scrollBy(0, -3000);
		window.read = [...document.querySelectorAll(".row")].find((row) => row.getBoundingClientRect().top >= 0);
		window.at = read.getBoundingClientRect().top;
		return true;
	})()`)
	b.await("the rows above are complete", `read.previousElementSibling.querySelector(".act") && read.querySelector(".act")`)
	if moved := evaluate[float64](b, `Math.abs(read.getBoundingClientRect().top - at)`); moved > 1 {
		t.Errorf("the row being read moved by %v", moved)
	}
	b.quiet()
}

// Everything that the page needs is requested at once when the HTML has arrived, except the list: only
// a script knows the credentials for that.
func TestLoadsInOneRoundTrip(t *testing.T) {
	t.Parallel()
	for name, actions := range map[string]int{"a short list": 0, "one that comes compressed": 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			for range actions {
				s.remote("Resharding", "moves 4096 slots to a new node")
			}
			loadsInOneRoundTrip(t, s)
		})
	}
}

func loadsInOneRoundTrip(t *testing.T, s *site) {
	t.Helper()
	b := open(t, desktop)
	b.signIn(s)
	b.do(chromedp.Reload())
	b.await("the page is live again", `document.querySelector("#live-text")?.textContent === "Live"`)
	late := evaluate[string](b, `(() => {
		const named = new Set([...document.querySelectorAll("link, script")].map((e) => e.href || e.src));
		return performance.getEntriesByType("resource").map((r) => r.name).filter((name) => !named.has(name) && !name.startsWith("data:")).join();
	})()`)
	if late != s.url+"v4/kapi/actions" {
		t.Errorf("requested later: %s", late)
	}
	lists := 0
	for _, address := range b.addresses() {
		if strings.HasSuffix(address, "/v4/kapi/actions") {
			lists++
		}
	}
	if lists > 3 { // before signing in, after it, and once after the reload
		t.Errorf("the list was requested %d times", lists)
	}
	b.quiet()
}
