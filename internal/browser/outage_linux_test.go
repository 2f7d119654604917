package browser

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

// held is an operation that does what the test tells it.
type held struct {
	t      *testing.T
	action kapi.Action
	handle kapi.Handle
	end    chan error
}

func hold(t *testing.T, p *peer.Peer, title string) *held {
	t.Helper()
	o := &held{t: t, end: make(chan error, 1)}
	ready := make(chan kapi.Handle, 1)
	a, err := p.Start(t.Context(), kapi.Spec{Title: title, Keys: []string{strings.ReplaceAll(title, " ", "-")}}, func(ctx context.Context, h kapi.Handle) error {
		ready <- h
		select {
		case err := <-o.end:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	o.action, o.handle = a, <-ready
	return o
}

// The server is killed and restarted. The page says since when it is stale, and catches up without a
// reload or a missed change.
func TestOutage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.peer()
	b := open(t, desktop)
	b.signIn(s)
	completes, goesOn, fails := hold(t, p, "completes"), hold(t, p, "goesOn"), hold(t, p, "fails")
	goesOn.handle.SetProgress(0.2)
	b.await("all rows are shown", `document.querySelectorAll(".row").length === 3`)
	b.await("the progress is shown", row("goesOn")+`.querySelector(".percent").textContent === "20%"`)
	evaluate[bool](b, `window.neverLoadedAgain = true`)
	place := row("goesOn") + `.getBoundingClientRect().top`
	b.settled()
	before := evaluate[float64](b, place)

	for round := range 3 {
		s.kill()
		b.await("the page says that it is stale", `document.querySelector("#stale").checkVisibility() && /as of \d\d:\d\d:\d\d/.test(document.querySelector("#stale-text").textContent)`)
		b.await("the tab's title says it too", `document.title.startsWith("not connected")`)
		if after := evaluate[float64](b, place); round == 0 && after != before {
			t.Errorf("the list moved from %v to %v", before, after)
		}
		if round == 0 {
			b.settled()
			b.shot("stale")
			completes.end <- nil
			fails.end <- errors.New("slot 7 is stuck")
		}
		goesOn.handle.SetProgress(0.3 + 0.1*float64(round))
		short := hold(t, p, fmt.Sprint("short", round)) // begins and ends while nobody watches
		short.end <- nil
		fresh := hold(t, p, fmt.Sprint("fresh", round))
		kapitest.Eventually(t, "the store has all changes", func() bool {
			_, err := p.Get(t.Context(), short.action.ID)
			return errors.Is(err, kapi.ErrUnknown)
		})
		s.start()
		b.await("the page is live again", `document.querySelector("#stale").hidden && document.querySelector("#live-text").textContent === "Live"`)
		b.await("the progress has caught up", fmt.Sprintf(`%s.querySelector(".percent").textContent === "%d%%"`, row("goesOn"), 30+10*round))
		b.await("the action that began is shown", row(fresh.action.Title))
		b.await("the action that began and ended is shown as ended", ending(short.action.Title, "Completed"))
	}
	b.await("the ending was not missed", ending("completes", "Completed"))
	b.do(click(`document.querySelector("#to-recent")`))
	b.await("a link leads to the ended actions", `document.activeElement.matches("#recent summary") && document.querySelector("#to-recent").textContent === "Just ended "+document.querySelectorAll("#endings li").length`)
	b.await("the failure was not missed", row("fails")+`.querySelector(".status").textContent === "Failed"`)
	if !evaluate[bool](b, `window.neverLoadedAgain === true`) {
		t.Error("the page was reloaded")
	}
	b.quiet()
}

func ending(title, status string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#endings li")].some((li) => li.querySelector(".title").textContent === %s && li.querySelector(".status").textContent === %s)`,
		quoted(title), quoted(status))
}

// When a token is revoked, the page shows nothing any more.
func TestRevoked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, phone)
	b.signIn(s)
	secret := s.remote("secret", "", "secret-key")
	s.report(secret, map[string]any{"status": 3, "state": "a secret state"})
	b.await("the row is shown", row("secret")+`?.dataset.status === "failed"`)
	b.act(row("secret"))
	b.await("the question is open", `document.querySelector("#question").open`)
	s.kapi("token", "revoke", s.tokenID())
	b.await("the page asks to sign in, and says why", `document.querySelector("#sign-in-view").checkVisibility()
		&& document.querySelector("#sign-in-view").textContent.includes("no longer valid") && !document.querySelector("#body").checkVisibility()`)
	if shown := evaluate[string](b, `[document.title, decodeURIComponent(document.querySelector("link[rel=icon]").href).includes("<text"),
		document.querySelector("#question").open, document.documentElement.outerHTML.includes("secret")].join()`); shown != "kapi,false,false,false" {
		t.Errorf("got title, badge on the icon, open question, secret in the document: %s", shown)
	}
	b.quiet()
}
