package browser

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/creack/pty"
)

// click clicks the element that a script returns.
func click(script string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void]("void " + script + ".click()")
}

// tokenID returns the id of the site's token, which is older than all sessions.
func (s *site) tokenID() string {
	s.t.Helper()
	return strings.Fields(strings.Split(s.kapi("token", "ls"), "\n")[1])[0]
}

// fill repeats a text to exactly n code points.
func fill(text string, n int) string {
	runes := []rune(strings.Repeat(text, n))
	return string(runes[:n])
}

// Whatever an action's texts contain, they are shown as text and nothing else.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	patterns := []struct{ name, text string }{
		{"markup", `<img src=x onerror=hacked()><script>hacked()</script>"'&amp;</li></template>`},
		{"right-to-left", "إعادة فهرسة قاعدة البيانات "},
		{"emoji", "👩‍👩‍👧‍👦🏳️‍🌈"},
		{"one-word", "W"},
		{"turned", "\u202eabc\u2066de\u200bf\u2069"},
	}
	for _, l := range []look{desktop, phone} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := open(t, l)
			b.signIn(s)
			for _, p := range patterns {
				b.nasty(s, p.name, p.text)
			}
			if evaluate[bool](b, `(() => {
				scrollTo(0, document.documentElement.scrollHeight);
				const link = document.querySelectorAll(".row h2 a")[1];
				link.focus();
				return link.getBoundingClientRect().top < document.querySelector("#filter").getBoundingClientRect().bottom;
			})()`) {
				t.Error("the filter hides the focused element")
			}
			b.quiet()
		})
	}
}

// nasty creates an action with that text in each field, repeated up to the field's limit, and checks it
// in the list, in a question and on its own page.
func (b *tab) nasty(s *site, name, text string) {
	b.t.Helper()
	title, state := fill(text, 200), fill(text, 500)
	key := fill(strings.ReplaceAll(text, " ", "_"), 200)
	other := string([]rune(key)[:199]) + "2"
	r := s.remote(title, fill(text, 2000), key, other)
	s.report(r, map[string]any{"status": 3, "state": state})
	row := fmt.Sprintf(`document.getElementById("title-%s")?.closest(".row")`, r.Action.ID)
	b.await(name+" is there", row)
	b.reach(row)
	b.await(name+" has failed", row+`.querySelector(".status").textContent === "Failed"`)
	for selector, want := range map[string]string{"h2": title, ".state": state, ".keys bdi": key} {
		if got := evaluate[string](b, fmt.Sprintf(`%s.querySelector(%q).textContent`, row, selector)); got != shown(want) {
			b.t.Errorf("%s: %s: %.80q, want %.80q", name, selector, got, shown(want))
		}
	}
	b.settled()
	whole(b)
	b.shot(name)
	b.act(row)
	b.await("the question about "+name+" is open", `document.querySelector("#question").open`)
	b.settled()
	whole(b)
	b.shot(name + "-question")
	b.press("\x1b")
	b.do(click(row + `.querySelector("h2 a")`))
	b.await("the page of "+name+" is open", `document.querySelector("#action-title").textContent === `+quoted(shown(title)))
	whole(b)
	b.shot(name + "-page")
	b.visit(s.url + "#/")
	b.await("back at the list", `document.querySelector("#list-view").checkVisibility()`)
}

// shown returns a text as the page shows it: characters that change the text direction are spelled out.
func shown(text string) string {
	return regexp.MustCompile("[\u200b\u2028-\u202e\u2066-\u2069]").ReplaceAllStringFunc(text, func(c string) string {
		return fmt.Sprintf(`\u%04x`, []rune(c)[0])
	})
}

// whole checks that texts were not interpreted, and that nothing sticks out of the window.
func whole(b *tab) {
	b.t.Helper()
	if evaluate[bool](b, `typeof hacked !== "undefined" || document.querySelectorAll("img, script:not([src]), body script").length > 0`) {
		b.t.Error("a text was interpreted as markup")
	}
	if wide := evaluate[string](b, `((wide) => [document.documentElement, ...document.querySelectorAll("main *, dialog[open] *")]
		.filter((e) => e.checkVisibility() && !e.closest(".command, .hidden-text, .bar i") && (e.getBoundingClientRect().right > wide + 1 || e.getBoundingClientRect().left < -1 || e === document.documentElement && e.scrollWidth > wide))
		.map((e) => e.outerHTML.slice(0, 80)).join("\n"))(`+fmt.Sprint(b.look.width)+`)`); wide != "" {
		b.t.Errorf("outside the window:\n%s", wide)
	}
}

// A page of another origin, of another site or only another port, can neither dismiss anything nor
// listen to the gateway.
func TestForeignPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.signIn(s)
	failed := s.remote("half done", "", "k")
	s.report(failed, map[string]any{"status": 3, "state": "slot 7 is stuck"})
	running := s.remote("going on", "")
	b.await("both rows are shown", row("half done")+" && "+row("going on"))
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>foreign</title>")
	}))
	defer foreign.Close()
	u, err := url.Parse(foreign.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, host := range map[string]string{"another port": "127.0.0.1", "another site": "localhost"} {
		b.visit("http://" + host + ":" + u.Port() + "/")
		outcome := evaluate[string](b, fmt.Sprintf(`(async () => {
			const said = [];
			for (const path of ["%[2]s/dismiss", "%[3]s/cancel"]) {
				for (const mode of ["cors", "no-cors"]) {
					await fetch(%[1]q + "v4/kapi/actions/" + path, { method: "POST", mode, credentials: "include" }).then(
						(r) => said.push(mode + " " + r.type), () => said.push(mode + " refused"));
				}
			}
			await fetch(%[1]q + "page/session", { method: "DELETE", mode: "cors", credentials: "include" }).then(() => said.push("signed out"), () => {});
			await fetch(%[1]q + "v4/kapi/actions", { credentials: "include" }).then((r) => said.push("reads"), () => {});
			said.push(await new Promise((resolve) => {
				const socket = new WebSocket(%[1]q.replace("http", "ws") + "gateway?v=4");
				socket.onopen = () => resolve("open");
				socket.onmessage = () => resolve("hears");
				socket.onclose = () => resolve("no gateway");
			}));
			return said.join(", ");
		})()`, s.url, failed.Action.ID, running.Action.ID))
		if want := "cors refused, no-cors opaque, cors refused, no-cors opaque, no gateway"; outcome != want {
			t.Errorf("%s: got %s, want %s", name, outcome, want)
		}
		if list := s.kapi("ls", "--json"); !strings.Contains(list, failed.Action.ID) {
			t.Fatalf("%s: the action was dismissed", name)
		} else if strings.Contains(list, "cancel_requested_at") {
			t.Fatalf("%s: the action was cancelled", name)
		}
		// Nor can it show kapi's page in a frame, which would request the list before it has loaded.
		asks := func() int { return strings.Count(s.log.String(), "path=/v4/kapi/actions ") }
		before := asks()
		b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`void document.body.append(Object.assign(document.createElement("iframe"), { src: %q, onload() { this.came = true } }))`, s.url)))
		b.await("the frame has loaded", `document.querySelector("iframe").came`)
		if asks() != before {
			t.Errorf("%s: in a frame, the page requested the list", name)
		}
	}
	b.visit(s.url)
	b.await("still signed in", row("half done"))
}

// The token is not in any address, the log, or anything that scripts can read.
func TestNoTokenAnywhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.signIn(s)
	s.remote("reshard", "")
	b.await("the row is shown", row("reshard"))
	b.do(click(`document.querySelector(".row h2 a")`))
	b.await("the action's page is open", `document.querySelector("#action-title").textContent === "reshard"`)
	b.do(chromedp.Reload())
	b.await("still signed in", `document.querySelector("#action-title").textContent === "reshard"`)
	readable := evaluate[string](b, `(async () => JSON.stringify([
		document.cookie, { ...localStorage }, { ...sessionStorage }, (await indexedDB.databases()).length, (await caches.keys()).length,
		document.documentElement.outerHTML, location.href, performance.getEntries().map((entry) => entry.name),
	]))()`)
	secret := s.token[strings.LastIndex(s.token, ".")+1:]
	for what, text := range map[string]string{"what scripts can read": readable, "the log": s.log.String(), "an address": strings.Join(b.addresses(), "\n")} {
		if strings.Contains(text, secret) {
			t.Errorf("the token is in %s", what)
		}
	}
	if addresses := strings.Join(b.addresses(), "\n"); !strings.Contains(addresses, "/gateway?") || !strings.Contains(addresses, "/page/session") {
		t.Errorf("not all addresses were seen: %s", addresses)
	}
	for _, address := range b.addresses() {
		if !strings.HasPrefix(address, s.url) && !strings.HasPrefix(address, "ws"+s.url[len("http"):]) && !strings.HasPrefix(address, "data:") {
			t.Errorf("the page requested another address: %s", address)
		}
	}
	b.do(click(`document.querySelector("#sign-out")`))
	b.await("signed out", `document.querySelector("#sign-in-view").checkVisibility()`)
	if evaluate[bool](b, `document.body.innerText.includes("reshard")`) {
		t.Error("the list is still shown")
	}
	b.quiet()
}

// The link that kapi serve prints signs in, once, and leaves no code behind.
func TestLink(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.kill()
	cmd := s.command("serve", "--listen", s.address)
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = terminal.Close()
	}()
	var link string
	for lines := bufio.NewScanner(terminal); link == "" && lines.Scan(); {
		link = regexp.MustCompile(`http://\S+/page/enter\?code=\w+`).FindString(lines.Text())
	}
	b := open(t, desktop)
	b.visit(link)
	b.await("signed in", `document.querySelector("#live-text").textContent === "Live" && !document.querySelector("#body").hidden`)
	if at := evaluate[string](b, `location.href`); at != s.url && at != s.url+"#/" {
		t.Errorf("the page's address is %s", at)
	}
	if evaluate[int](b, `history.length`) > 2 {
		t.Error("the browser's history has the code")
	}
	b.visit(link) // some people click twice
	b.await("still signed in", `document.querySelector("#live-text").textContent === "Live" && !document.querySelector("#body").hidden`)
	b.quiet()

	other := open(t, desktop)
	other.visit(link)
	other.await("the link signs nobody else in", `document.querySelector("#sign-in-view").checkVisibility() && document.querySelector("#sign-in-view").textContent.includes("has been used already")`)
	// A code pasted into the address of an open page is tried as well.
	other.do(chromedp.Evaluate[chromedp.Void](`void (location.hash = "#/enter/AAAAAAAAAAAAAAAAAAAAAAAAAA")`))
	other.await("an invalid code is refused", `location.hash === "#/link" && document.querySelector("#sign-in-view").checkVisibility()`)
	other.quiet()
}
