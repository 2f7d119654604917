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

// TestJourney is what an admin does with a command that goes wrong, with the keyboard alone, on
// each kind of screen.
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
	b.await("it is there", row(title))
	bar := row(title) + `.querySelector(".bar")`
	b.await("nobody knows how far it is", bar+`.classList.contains("unknown")`)
	for _, percent := range []int{10, 25, 40} {
		j.do(escape(1, percent))
		b.await("its bar moves", fmt.Sprintf(`%s?.getAttribute("aria-valuenow") === "%d"`, bar, percent))
	}
	b.await("the bar is as long", fmt.Sprintf(`(() => {
		const all = %s.getBoundingClientRect(), filled = %s.firstElementChild.getBoundingClientRect();
		return Math.abs((filled.right - all.left) / all.width - 0.4) < 0.01;
	})()`, bar, bar))
	b.await("the title counts", `document.title === "1 ongoing · kapi"`)

	j.do(escape(2, 45))
	b.await("it is impacted", word("Impacted"))
	b.settled()
	b.shot("3-impacted")
	j.do(escape(1, 50))
	b.await("it has recovered", word("Running"))
	j.do("exit 3")
	b.await("it has failed", word("Failed"))
	b.await("the title says so", `document.title === "1 failed, 1 ongoing · kapi"`)
	b.await("so does the icon", `decodeURIComponent(document.querySelector("link[rel=icon]").href).includes(">1</text>")`)
	b.settled()
	b.shot("4-failed")

	dismissByKeyboard(b)
	b.await("the list is empty again", `!document.querySelector("#empty").hidden && !document.querySelector(".row")`)
	b.await("it has just ended", `document.querySelector("#endings .title").textContent === "`+title+`"`)
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
	b.await("it is refused", `document.querySelector("#token-error").textContent.includes("not valid") && document.querySelector("#token[aria-invalid]")`)
	b.press(s.token)
	b.await("another may be right", `!document.querySelector("#token[aria-invalid]") && !document.querySelector("#token-error").checkVisibility()`)
	b.press("\r")
	b.await("signed in", `!document.querySelector("#body").hidden && document.querySelector("#live-text").textContent === "Live"`)
}

func dismissByKeyboard(b *tab) {
	b.t.Helper()
	b.tabTo(".row .act")
	b.press("\r")
	b.await("it is asked about", `document.querySelector("#question").open`)
	for _, want := range []string{title, "backup:db1", "becomes free"} {
		if text := evaluate[string](b, `document.querySelector("#question").innerText`); !strings.Contains(text, want) {
			b.t.Errorf("the question doesn't say %q: %s", want, text)
		}
	}
	b.settled()
	b.shot("5-question")
	b.press("\x1b")
	b.await("no is no", `!document.querySelector("#question").open && document.activeElement.matches(".row .act")`)
	b.press("\r")
	b.await("it is asked again", `document.querySelector("#question").open && document.activeElement.textContent === "Dismiss"`)
	b.press("\r")
	b.await("it is dismissed", word("Aborted"))
	b.await("the focus stays close by", `document.activeElement.closest(".row")`)
	b.settled()
	b.shot("6-dismissed")
}

// What can't be done is not done, and says why; what the server has against it is shown.
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
	b.await("both are there", `document.querySelectorAll(".row").length === 2`)

	b.act(row("Reindex"))
	b.await("it warns", `document.querySelector("#question").open && document.querySelector("#question .warning").checkVisibility()`)
	b.await("and keeps to the safe side", `document.activeElement.textContent === "Keep it"`)
	b.await("both keys become free", `[...document.querySelectorAll("#question .keys bdi")].map((key) => key.textContent).join() === "search,index:7"`)
	b.settled()
	b.shot("warning")
	// Somebody else is faster.
	s.kapi("dismiss", silent.Action.ID)
	b.await("there is nothing to do any more", `document.querySelector("#question [data-part=moot]").textContent.includes("It has ended")
		&& document.querySelector("#question [data-part=yes]").disabled`)
	b.press("\x1b")
	short := hold(t, p, "Short")
	b.await("another is there", row("Short"))
	b.act(row("Short"))
	b.await("it is asked about", `document.activeElement.textContent === "Ask it to stop"`)
	short.end <- nil
	b.await("what has the focus can be pressed", `document.querySelector("#question [data-part=yes]").disabled && document.activeElement.textContent === "Let it go on"`)
	b.press("\x1b")

	b.act(row("Long"))
	b.await("cancelling is asked about", `document.querySelector("#question").open && document.querySelector("#question h2").textContent === "Ask “Long” to stop?"`)
	s.kill()
	b.press("\r")
	b.await("the error is shown", `document.querySelector("#question [role=alert]").checkVisibility()
		&& document.querySelector("#question [role=alert]").textContent.includes("can’t be reached")`)
	b.settled()
	b.shot("error")
	s.start()
	b.press("\r")
	b.await("the outcome is shown", row("Long")+`.querySelector(".act").getAttribute("aria-disabled") === "true" || `+row("Long")+`.querySelector(".status").textContent === "Failed"`)
	kapitest.Eventually(t, "its runner was asked", func() bool {
		a, err := p.Get(t.Context(), running.ID)
		return err == nil && a.CancelRequestedAt != 0
	})
	b.quiet()
}

// What is going on and cannot be cancelled any more says why, where one looks.
func TestDisabledWithAReason(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.signIn(s)
	slow := s.remote("Slow to stop", "")
	s.rest("POST", "v4/kapi/actions/"+slow.Action.ID+"/cancel", map[string]any{}, nil)
	act := row("Slow to stop") + `?.querySelector(".act")`
	b.await("the button says why", act+`?.getAttribute("aria-disabled") === "true" && `+act+`.getAttribute("aria-label").includes("asked to stop at")`)
	b.await("so does the row", row("Slow to stop")+`.querySelector("[data-part=note]").checkVisibility()`)
	b.do(click(act))
	if evaluate[bool](b, `document.querySelector("#question").open`) {
		t.Error("a disabled button asks")
	}
	b.visit(s.url + "#/actions/" + slow.Action.ID)
	b.await("the page of the action says both", `document.querySelector("#cancel-why").textContent.includes("asked to stop")
		&& document.querySelector("#dismiss-why").textContent === "Only what has failed can be dismissed."`)
	b.quiet()
}

// Who asks for it is notified of failures, of those that were missed meanwhile too, and of nothing
// else.
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
	b.await("two have failed", `document.title.startsWith("2 failed")`)
	evaluate[bool](b, `window.none = true`)
	b.do(click(`document.querySelector("#notices")`))
	b.await("there can be none here", `document.querySelector("#notices-why").textContent.includes("for installed apps only") && document.querySelector("#notices").getAttribute("aria-pressed") === "false"`)
	evaluate[bool](b, `(window.none = false, true)`)
	b.do(click(`document.querySelector("#notices")`))
	b.await("it is on", `document.querySelector("#notices").getAttribute("aria-pressed") === "true" && !document.querySelector("#notices-why").checkVisibility()`)
	b.await("and shows it", `notices.splice(0).join() === "kapi tells of failures: As long as this page is open."`)
	wanted, completes := hold(t, p, "wanted"), hold(t, p, "completes")
	completes.end <- nil
	wanted.end <- errors.New("slot 7 is stuck")
	b.await("one notice", `notices.join() === "Failed: wanted: slot 7 is stuck"`)
	missed := hold(t, p, "missed")
	s.kill()
	missed.end <- errors.New("while away")
	kapitest.Eventually(t, "it has failed", func() bool {
		a, err := p.Get(t.Context(), missed.action.ID)
		return err == nil && a.Status == kapi.StatusFailed
	})
	s.start()
	b.await("and another", `notices.length === 2 && notices[1] === "Failed: missed: while away"`)
	b.do(click(`document.querySelector("#notices")`))
	b.await("it is off", `document.querySelector("#notices").getAttribute("aria-pressed") === "false"`)
	b.quiet()
}
