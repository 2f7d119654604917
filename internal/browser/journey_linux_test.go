package browser

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
)

// TestJourney handles a command that goes wrong as an admin would, with the keyboard alone, on each
// kind of screen.
func TestJourney(t *testing.T) {
	t.Parallel()
	for _, l := range []look{desktop, desktop.inTheDark(), phone, phone.inTheDark()} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			journey(t, l)
		})
	}
}

const title = "Nightly backup"

func journey(t *testing.T, l look) {
	s := newSite(t)
	b := open(t, l)
	signInWithMistakes(b, s)
	b.await("the list is empty", `!document.querySelector("#empty").hidden`)
	b.settled()
	b.shot("2-empty")

	j := s.run("--key", "backup:db1", "--title", title, "--description", "Dumps every database of db1 and sends them to the other site.")
	b.await("the row is shown", row(title))
	bar := row(title) + `.querySelector(".bar")`
	b.await("the progress is unknown", bar+`.classList.contains("unknown")`)
	for _, percent := range []int{10, 25, 40} {
		j.do(escape(1, percent))
		b.await("the bar moves", fmt.Sprintf(`%s?.getAttribute("aria-valuenow") === "%d"`, bar, percent))
	}
	b.await("the bar's length matches", fmt.Sprintf(`(() => {
		const all = %s.getBoundingClientRect(), filled = %s.firstElementChild.getBoundingClientRect();
		return Math.abs((filled.right - all.left) / all.width - 0.4) < 0.01;
	})()`, bar, bar))
	b.await("the tab's title has the count", `document.title === "1 ongoing · kapi"`)

	j.do(escape(2, 45))
	b.await("the action is impacted", word("Impacted"))
	b.settled()
	b.shot("3-impacted")
	j.do(escape(1, 50))
	b.await("the action has recovered", word("Running"))
	j.do("exit 3")
	b.await("the action has failed", word("Failed"))
	b.await("the tab's title has the failure", `document.title === "1 failed, 1 ongoing · kapi"`)
	b.await("the icon has the failure", `decodeURIComponent(document.querySelector("link[rel=icon]").href).includes(">1</text>")`)
	b.settled()
	b.shot("4-failed")

	dismissByKeyboard(b)
	b.await("the list is empty again", `!document.querySelector("#empty").hidden && !document.querySelector(".row")`)
	b.await("the ended action is shown", `document.querySelector("#endings .title").textContent === "`+title+`"`)
	b.settled()
	b.shot("7-gone")
	if list := s.kapi("ls", "--json"); list != "[]" {
		t.Errorf("the store still has %s", list)
	}
	b.quiet()
}

func word(status string) string {
	return fmt.Sprintf(`%s?.querySelector(".status").textContent === "%s"`, row(title), status)
}

// signInWithMistakes pastes a wrong token first.
func signInWithMistakes(b *tab, s *site) {
	b.t.Helper()
	b.visit(s.url)
	b.await("the page asks for a token", `document.activeElement.id === "token"`)
	b.settled()
	b.shot("1-sign-in")
	b.press("wrong\r")
	b.await("the token is refused", `document.querySelector("#token-error").textContent.includes("not valid") && document.querySelector("#token[aria-invalid]")`)
	b.press(s.token)
	b.await("the error goes away when the token is changed", `!document.querySelector("#token[aria-invalid]") && !document.querySelector("#token-error").checkVisibility()`)
	b.press("\r")
	b.await("signed in", `!document.querySelector("#body").hidden && document.querySelector("#live-text").textContent === "Live"`)
}

func dismissByKeyboard(b *tab) {
	b.t.Helper()
	b.tabTo(".row .act")
	b.press("\r")
	b.await("the question is open", `document.querySelector("#question").open`)
	for _, want := range []string{title, "backup:db1", "becomes free"} {
		if text := evaluate[string](b, `document.querySelector("#question").innerText`); !strings.Contains(text, want) {
			b.t.Errorf("the question doesn't say %q: %s", want, text)
		}
	}
	b.settled()
	b.shot("5-question")
	b.press("\x1b")
	b.await("declining closes the question", `!document.querySelector("#question").open && document.activeElement.matches(".row .act")`)
	b.press("\r")
	b.await("the question is open again", `document.querySelector("#question").open && document.activeElement.textContent === "Dismiss"`)
	b.press("\r")
	b.await("the action is dismissed", word("Aborted"))
	b.await("the focus stays in the row", `document.activeElement.closest(".row")`)
	b.settled()
	b.shot("6-dismissed")
}

// Impossible actions are not attempted, with a reason shown; the server's objections are shown.
func TestQuestions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.peer()
	b := open(t, desktop)
	b.signIn(s)
	silent := s.remote("Reindex", "", "search", "index:7")
	s.lose(silent)
	running, err := p.Start(t.Context(), kapi.Spec{Title: "Long", Keys: []string{"long"}}, forever)
	if err != nil {
		t.Fatal(err)
	}
	b.await("both rows are shown", `document.querySelectorAll(".row").length === 2`)

	b.act(row("Reindex"))
	b.await("the question has a warning", `document.querySelector("#question").open && document.querySelector("#question .warning").checkVisibility()`)
	b.await("the safe button has the focus", `document.activeElement.textContent === "Keep it"`)
	b.await("the question names both keys", `[...document.querySelectorAll("#question .keys bdi")].map((key) => key.textContent).join() === "search,index:7"`)
	b.settled()
	b.shot("warning")
	// Another admin is faster.
	s.kapi("dismiss", silent.Action.ID)
	b.await("the question says that the action has ended", `document.querySelector("#question [data-part=moot]").textContent.includes("It has ended")
		&& document.querySelector("#question [data-part=yes]").disabled`)
	b.press("\x1b")
	short := hold(t, p, "Short")
	b.await("the other row is shown", row("Short"))
	b.act(row("Short"))
	b.await("the question is open", `document.activeElement.textContent === "Ask it to stop"`)
	short.end <- nil
	b.await("the focused button is enabled", `document.querySelector("#question [data-part=yes]").disabled && document.activeElement.textContent === "Let it run"`)
	b.press("\x1b")

	b.act(row("Long"))
	b.await("the question about cancelling is open", `document.querySelector("#question").open && document.querySelector("#question h2").textContent === "Ask “Long” to stop?"`)
	s.kill()
	b.press("\r")
	b.await("the error is shown", `document.querySelector("#question [role=alert]").checkVisibility()
		&& document.querySelector("#question [role=alert]").textContent.includes("can’t be reached")`)
	b.settled()
	b.shot("error")
	s.start()
	b.press("\r")
	b.await("the outcome is shown", row("Long")+`.querySelector(".act").getAttribute("aria-disabled") === "true" || `+row("Long")+`.querySelector(".status").textContent === "Failed"`)
	kapitest.Eventually(t, "the runner was asked to stop", func() bool {
		a, err := p.Get(t.Context(), running.ID)
		return err == nil && a.CancelRequestedAt != 0
	})
	b.quiet()
}

// If an action can't be cancelled any more, the page says why next to the button.
func TestDisabledWithAReason(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.signIn(s)
	slow := s.remote("Slow to stop", "")
	s.rest("POST", "v4/kapi/actions/"+slow.Action.ID+"/cancel", map[string]any{}, nil)
	act := row("Slow to stop") + `?.querySelector(".act")`
	b.await("the button says why", act+`?.getAttribute("aria-disabled") === "true" && `+act+`.getAttribute("aria-label").includes("asked to stop at")`)
	b.await("the row says why", row("Slow to stop")+`.querySelector("[data-part=note]").checkVisibility()`)
	b.do(click(act))
	if evaluate[bool](b, `document.querySelector("#question").open`) {
		t.Error("a disabled button opens the question")
	}
	b.visit(s.url + "#/actions/" + slow.Action.ID)
	b.await("the page of the action says both", `document.querySelector("#cancel-why").textContent.includes("asked to stop")
		&& document.querySelector("#dismiss-why").textContent === "Only a failed action can be dismissed."`)
	b.quiet()
}

// A user who asks for notifications gets one for each failure, also for those that were missed
// meanwhile, and for nothing else.
func TestNotices(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.peer()
	before := hold(t, p, "failed before")
	before.end <- errors.New("long ago")
	b := open(t, desktop)
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
		window.notices = [];
		window.Notification = class {
			static permission = "default";
			static requestPermission() { return Promise.resolve((this.permission = "granted")); }
			constructor(title, { body }) {
				if (window.none) throw new TypeError("Illegal constructor");
				notices.push(title + ": " + body);
			}
		};`})
	b.signIn(s)
	unwanted := hold(t, p, "unwanted")
	unwanted.end <- errors.New("nobody asked")
	b.await("the tab's title counts two failures", `document.title.startsWith("2 failed")`)
	evaluate[bool](b, `window.none = true`)
	b.do(click(`document.querySelector("#notices")`))
	b.await("the page says why notifications are not possible", `document.querySelector("#notices-why").textContent.includes("for installed apps only") && document.querySelector("#notices").getAttribute("aria-pressed") === "false"`)
	evaluate[bool](b, `(window.none = false, true)`)
	b.do(click(`document.querySelector("#notices")`))
	b.await("notifications are on", `document.querySelector("#notices").getAttribute("aria-pressed") === "true" && !document.querySelector("#notices-why").checkVisibility()`)
	b.await("a notification confirms that", `notices.splice(0).join() === "kapi notifies of failures: As long as this page is open."`)
	wanted, completes := hold(t, p, "wanted"), hold(t, p, "completes")
	completes.end <- nil
	wanted.end <- errors.New("slot 7 is stuck")
	b.await("one notification arrived", `notices.join() === "Failed: wanted: slot 7 is stuck"`)
	missed := hold(t, p, "missed")
	s.kill()
	missed.end <- errors.New("while away")
	kapitest.Eventually(t, "the action has failed", func() bool {
		a, err := p.Get(t.Context(), missed.action.ID)
		return err == nil && a.Status == kapi.StatusFailed
	})
	s.start()
	b.await("another notification arrived", `notices.length === 2 && notices[1] === "Failed: missed: while away"`)
	b.do(click(`document.querySelector("#notices")`))
	b.await("notifications are off", `document.querySelector("#notices").getAttribute("aria-pressed") === "false"`)
	b.quiet()
}
