package browser

import (
	"fmt"
	"testing"
)

// The text of a state counts for nothing: an action whose state says "not proven dead" is dismissed
// without a warning. An action's page says what it waits for, and who asked it to stop.
func TestFactsAreFields(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.signIn(s)
	says := s.remote("Says so", "", "says")
	s.report(says, map[string]any{"status": 3, "state": "no word; not proven dead"})
	marked := s.remote("Is so", "", "is")
	s.lose(marked)
	b.await("both rows have failed", row("Says so")+`?.dataset.status === "failed" && `+row("Is so")+`?.dataset.status === "failed"`)
	for title, warned := range map[string]string{"Says so": "false", "Is so": "true"} {
		b.act(row(title))
		b.await("the question is open", `document.querySelector("#question").open`)
		if got := evaluate[string](b, `String(document.querySelector("#question .warning").checkVisibility())`); got != warned {
			b.t.Errorf("dismissing %q: got warning %s", title, got)
		}
		b.press("\x1b")
	}
	for _, tt := range []struct {
		remote
		warned string
	}{{says, "false"}, {marked, "true"}} {
		b.visit(s.url + "#/actions/" + tt.Action.ID)
		b.await("the action's page is open", fmt.Sprintf(`document.querySelector("#action-title").textContent === %q`, tt.Action.Title))
		if got := evaluate[string](b, `String(document.querySelector("#action-view [data-part=warning]").checkVisibility())`); got != tt.warned {
			b.t.Errorf("the page of %q: got warning %s", tt.Action.Title, got)
		}
	}
	holder := s.remote("Resharding", "", "reshard")
	var waits remote
	s.rest("POST", "v4/kapi/actions", map[string]any{"title": "Deploy", "keys": []string{"reshard"}, "wait": true}, &waits)
	b.visit(s.url + "#/actions/" + waits.Action.ID)
	b.await("the page says what the action waits for", fact("Waits for", "Resharding ("+holder.Action.ID+"), for key reshard"))
	s.rest("POST", "v4/kapi/actions/"+waits.Action.ID+"/cancel", map[string]any{}, nil)
	b.await("the page says who asked the action to stop", fmt.Sprintf(`[...document.querySelectorAll("#action-view dt")].some((dt) =>
		dt.textContent === "Asked to stop" && dt.nextElementSibling.textContent.includes(%q))`, ", by ada ("+s.tokenID()+")"))
	s.report(holder, map[string]any{"status": 5})
	b.await("the action waits for nothing any more", `![...document.querySelectorAll("#action-view dt")].some((dt) => dt.textContent === "Waits for" && dt.checkVisibility())`)
}

// fact returns a script that says whether an action's page has this value.
func fact(name, value string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#action-view dt")].some((dt) => dt.textContent === %q && dt.nextElementSibling.textContent === %q)`, name, value)
}
