package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi/internal/kapitest"
)

// A neighbour is another user's server on another port of the same host. It records what browsers send
// to it.
type neighbour struct {
	*httptest.Server
	mu    sync.Mutex
	asked []http.Header
}

func newNeighbour(t *testing.T) *neighbour {
	n := new(neighbour)
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.asked = append(n.asked, r.Header.Clone())
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>neighbour</title>")
	}))
	t.Cleanup(n.Close)
	return n
}

// cookies returns all cookies that it was sent.
func (n *neighbour) cookies() (all []*http.Cookie) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, header := range n.asked {
		all = append(all, (&http.Request{Header: header}).Cookies()...)
	}
	return all
}

// Another user's server on the same host receives the cookies of a signed-in browser. They are worth
// nothing to it, neither on REST nor on the gateway, however it presents them.
func TestNeighbourGetsTheCookie(t *testing.T) {
	t.Parallel()
	s, n := newSite(t), newNeighbour(t)
	b := open(t, desktop)
	b.signIn(s)
	failed := s.remote("half done", "", "k")
	s.report(failed, map[string]any{"status": 3, "state": "slot 7 is stuck"})
	b.await("the row is shown", row("half done"))

	b.visit(n.URL)
	stolen := n.cookies()
	if len(stolen) == 0 {
		t.Fatal("the browser sends no cookie to another port: this test shows nothing")
	}
	if kept := evaluate[string](b, `JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])`); kept != `[{},{},""]` {
		t.Errorf("the neighbour's scripts can read %s", kept)
	}
	for _, cookie := range stolen {
		for name, header := range forged(s, cookie) {
			if got := s.answers(header, "GET", "v4/kapi/actions"); got != http.StatusUnauthorized {
				t.Errorf("the list, with %s: got status %d", name, got)
			}
			if got := s.answers(header, "POST", "v4/kapi/actions/"+failed.Action.ID+"/dismiss"); got != http.StatusUnauthorized {
				t.Errorf("a dismissal, with %s: got status %d", name, got)
			}
			if got := s.answers(header, "DELETE", "page/session"); got != http.StatusNoContent {
				t.Errorf("signing out, with %s: got status %d", name, got) // it reveals nothing, and ends no session
			}
			for _, token := range []string{"", cookie.Value, "Bearer " + cookie.Value, "kapi." + cookie.Value} {
				if got := s.identified(header, token); got != "4004" {
					t.Errorf("the gateway, with %s and %.12q: got %s", name, token, got)
				}
			}
		}
	}
	// Nor are they worth anything to a page of its own in the same browser.
	if said := evaluate[string](b, fmt.Sprintf(`fetch(%q, { credentials: "include", headers: { "X-Kapi-Session": "kapi.x.y" } }).then(() => "answered", () => "refused")`, s.url+"v4/kapi/actions")); said != "refused" {
		t.Errorf("its page was %s", said)
	}
	b.visit(s.url)
	b.await("still signed in, and the row is shown", row("half done"))
}

// forged returns the ways to present the stolen cookie.
func forged(s *site, cookie *http.Cookie) map[string]http.Header {
	as := func(name string, more ...string) http.Header {
		h := http.Header{"Cookie": {name + "=" + cookie.Value}}
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return h
	}
	own := strings.TrimSuffix(s.url, "/")
	return map[string]http.Header{
		"the cookie":                  as(cookie.Name),
		"the cookie, from the page":   as(cookie.Name, "Origin", own, "Sec-Fetch-Site", "same-origin"),
		"the cookie as sess":          as("sess"),
		"as sess, from the page":      as("sess", "Origin", own),
		"the cookie twice":            as(cookie.Name, "X-Kapi-Session", cookie.Value),
		"the cookie as if a half":     as(cookie.Name, "X-Kapi-Session", "kapi."+cookie.Value),
		"the cookie as a token":       {"Authorization": {"Bearer " + cookie.Value}},
		"the cookie as a bot's token": {"Authorization": {"Bot " + cookie.Value}},
	}
}

// answers returns the status that a client other than a browser gets, once the rate limit for strangers
// allows a request.
func (s *site) answers(header http.Header, method, path string) (status int) {
	s.t.Helper()
	kapitest.Eventually(s.t, "the rate limit allows a request", func() bool {
		req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header, req.Close = header.Clone(), true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = resp.Body.Close()
		status = resp.StatusCode
		return status != http.StatusTooManyRequests
	})
	return status
}

// identified returns the gateway's answer to an identify: the type of its message, or a close code.
func (s *site) identified(header http.Header, token string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	header = header.Clone()
	if header.Get("Origin") == "" {
		header.Set("Origin", strings.TrimSuffix(s.url, "/")) // a client other than a browser can send any Origin
	}
	conn, _, err := websocket.Dial(ctx, s.url+"gateway?v=4", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.CloseNow()
	if _, _, err = conn.Read(ctx); err == nil { // hello
		err = conn.Write(ctx, websocket.MessageText, []byte(`{"op":4,"d":{"token":`+quoted(token)+`,"intents":64}}`))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	_, data, err := conn.Read(ctx)
	if code := websocket.CloseStatus(err); code != -1 {
		return fmt.Sprint(int(code))
	}
	return string(data)
}

// A browser is signed in to two servers on one host, with two stores. Signing out of one doesn't affect
// the other, and neither does a cookie that a neighbour sets under their names.
func TestTwoServersOnOneHost(t *testing.T) {
	t.Parallel()
	one, two := newSite(t), newSite(t)
	first := open(t, desktop)
	first.signIn(one)
	first.signIn(two)
	for _, s := range []*site{one, two, one} {
		first.visit(s.url)
		first.await("signed in to both", `document.querySelector("#live-text").textContent === "Live" && !document.querySelector("#body").hidden`)
	}
	names := map[string]bool{}
	n := newNeighbour(t)
	first.visit(n.URL)
	for _, cookie := range n.cookies() {
		names[cookie.Name] = true
	}
	if len(names) != 2 {
		t.Errorf("got the cookies %v", names)
	}
	first.visit(one.url)
	first.await("signed in", `!document.querySelector("#body").hidden && document.querySelector("#sign-out").checkVisibility()`)
	first.do(click(`document.querySelector("#sign-out")`))
	first.await("signed out of the first", `document.querySelector("#sign-in-view").checkVisibility()`)
	if sessions := one.kapi("token", "ls"); strings.Contains(sessions, " session ") {
		t.Errorf("the store still has the session:\n%s", sessions)
	}
	first.visit(two.url)
	first.await("still signed in to the other", `document.querySelector("#live-text").textContent === "Live" && !document.querySelector("#body").hidden`)
	first.quiet()
}

// If a session is revoked, an open page notices within seconds. The token stays valid.
func TestSessionIsRevoked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := open(t, desktop)
	b.signIn(s)
	lines := strings.Split(s.kapi("token", "ls"), "\n")
	i := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, " session ") })
	if i < 0 || len(lines) != 3 || !strings.HasSuffix(lines[i], " "+s.tokenID()) {
		t.Fatalf("kapi token ls printed\n%s", strings.Join(lines, "\n"))
	}
	s.kapi("token", "revoke", strings.Fields(lines[i])[0])
	b.await("the page asks to sign in", `document.querySelector("#sign-in-view").checkVisibility()
		&& document.querySelector("#sign-in-view").textContent.includes("session is no longer valid") && !document.querySelector("#body").checkVisibility()`)
	b.signIn(s)
	b.quiet()
}

// If an older version has left the token in a cookie, it is removed at once, and the page asks to sign
// in.
func TestOldCookie(t *testing.T) {
	t.Parallel()
	s, n := newSite(t), newNeighbour(t)
	b := open(t, desktop)
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	b.setCookie(u.Hostname(), "sess", s.token)
	b.visit(s.url)
	b.await("the page asks for a token", `document.activeElement.id === "token"`)
	b.visit(n.URL)
	if stolen := n.cookies(); len(stolen) > 0 {
		t.Errorf("the neighbour got %v", stolen)
	}
	b.signIn(s)
	b.quiet()
}
