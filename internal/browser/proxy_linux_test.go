package browser

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

// A front is a proxy in front of a site, under a prefix that it strips. goWrong sets which paths fail.
type front struct {
	*httptest.Server
	proxy *httputil.ReverseProxy

	mu     sync.Mutex
	wrong  map[string]http.HandlerFunc
	asked  map[string]int
	cutOff []context.CancelFunc // ends the gateway's connections
}

const underPrefix = "/ops/kapi"

func newFront(t *testing.T, s *site) *front {
	t.Helper()
	to, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{wrong: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	f.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	f.Server = httptest.NewServer(http.StripPrefix(underPrefix+"/", http.HandlerFunc(f.serve)))
	t.Cleanup(func() {
		f.cut()
		f.Close()
	})
	return f
}

func (f *front) serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	f.mu.Lock()
	f.asked[r.URL.Path]++
	wrong := f.wrong[r.URL.Path]
	if r.URL.Path == "gateway" {
		f.cutOff = append(f.cutOff, cancel)
	}
	f.mu.Unlock()
	if wrong != nil {
		wrong(w, r)
		return
	}
	f.proxy.ServeHTTP(w, r.WithContext(ctx))
}

// goWrong has a path answered by how; nil passes it to the site again.
func (f *front) goWrong(path string, how http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong[path] = how
}

// cut ends the gateway's connections without a close.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, cancel := range f.cutOff {
		cancel()
	}
	f.cutOff = nil
}

func (f *front) times(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[path]
}

// answers returns a handler that always gives the same answer.
func answers(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

const theList, theGateway, theSession = "v4/kapi/actions", "gateway", "page/session"

// Behind a proxy that strips a prefix, the page works as elsewhere. Whatever goes wrong in between, the
// page says so, and continues when it is over.
func TestBehindProxy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.peer()
	f := newFront(t, s)
	b := open(t, desktop)
	unavailable := answers(503, "application/json", `{"message":"Service Unavailable","report":"r1"}`)

	f.goWrong(theList, unavailable)
	b.visit(f.URL + underPrefix + "/")
	b.await("the page says why there is no list", says("#loading", "Service Unavailable (incident r1"))
	f.goWrong(theList, answers(200, "text/html", "<h1>Who are you?</h1>"))
	b.await("the page says that the answer is not kapi's", says("#loading", "is not from kapi"))
	f.goWrong(theList, nil)
	b.await("the page asks for a token", `document.activeElement.id === "token" && !document.querySelector("#loading").checkVisibility()`)
	f.goWrong(theSession, func(w http.ResponseWriter, r *http.Request) {
		r.Host = "127.0.0.1:1"                                                                // as a proxy does by default
		for _, name := range []string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"} { // browsers send these only on secure connections
			r.Header.Del(name)
		}
		f.proxy.ServeHTTP(w, r)
	})
	b.press(s.token + "\r")
	b.await("the page says what is wrong", says("#token-error", "must pass the Host header on"))
	f.goWrong(theSession, nil)

	// Signed in, but the list can't be had yet.
	f.goWrong(theList, unavailable)
	b.press("\r")
	b.await("the page says why", says("#loading", "Service Unavailable")+` && !document.querySelector("#sign-in-view").checkVisibility()`)
	f.goWrong(theList, nil)
	f.owes(t, b, p)
	f.goesOn(t, b, p)
	f.signsOut(b)
	b.quiet()
}

func says(selector, text string) string {
	return `document.querySelector("` + selector + `").checkVisibility() && document.querySelector("` + selector + `").textContent.includes(` + quoted(text) + `)`
}

// owes loses the connection between READY and the list, and resumes it. The page must not be live
// before it has the list.
func (f *front) owes(t *testing.T, b *tab, p *peer.Peer) {
	t.Helper()
	let := make(chan struct{})
	f.goWrong(theGateway, func(w http.ResponseWriter, r *http.Request) {
		<-let
		f.serveAgain(w, r)
	})
	b.await("the list is shown", `document.querySelector("#empty").checkVisibility()`)
	kapitest.Eventually(t, "the gateway is requested", func() bool { return f.times(theGateway) == 1 })
	late := hold(t, p, "late")
	f.goWrong(theList, answers(503, "application/json", `{"message":"Service Unavailable","report":"r2"}`))
	evaluate[bool](b, `(window.early = false, new MutationObserver(() => requestAnimationFrame(() => { // which paints the rows
		if (document.querySelector("#live-text").textContent === "Live" && !`+row("late")+`) early = true;
	})).observe(document.querySelector("#live-text"), { childList: true, characterData: true, subtree: true }), true)`)
	asked := f.times(theList)
	f.goWrong(theGateway, nil)
	close(let)
	kapitest.Eventually(t, "the list is requested", func() bool { return f.times(theList) > asked })
	f.cut()
	kapitest.Eventually(t, "the gateway is requested again", func() bool { return f.times(theGateway) == 2 })
	asked = f.times(theList)
	kapitest.Eventually(t, "the list is requested again", func() bool { return f.times(theList) > asked+1 })
	f.goWrong(theList, nil)
	b.await("the page is live", `document.querySelector("#live-text").textContent === "Live" && `+row(late.action.Title))
	if evaluate[bool](b, `early`) {
		t.Error("the page was live before it had the list")
	}
}

// serveAgain serves a request that was held back.
func (f *front) serveAgain(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked[r.URL.Path]--
	f.mu.Unlock()
	f.serve(w, r)
}

// goesOn dismisses without the gateway, and checks that the outcome is shown. When the gateway then has
// another version, the page must say so.
func (f *front) goesOn(t *testing.T, b *tab, p *peer.Peer) {
	t.Helper()
	failed := hold(t, p, "failed")
	failed.end <- errors.New("slot 7 is stuck")
	b.await("the action has failed", row("failed")+`?.dataset.status === "failed"`)
	f.goWrong(theGateway, answers(502, "text/html", "away"))
	f.cut()
	b.await("the page is stale", says("#stale", "Not connected"))
	b.act(row("failed"))
	b.await("the question is open", `document.querySelector("#question").open`)
	b.press("\r")
	b.await("the outcome is shown", row("failed")+`?.querySelector(".status").textContent === "Ended"`)
	f.goWrong(theGateway, func(w http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(w, r, nil); err == nil {
			_ = c.Close(4012, "another version")
		}
	})
	evaluate[bool](b, `dispatchEvent(new Event("online"))`) // so that the page reconnects at once
	b.await("the page says that the server has another version", says("#stale", "of another version")+` && document.querySelector("#live-text").textContent === "Not connected" && document.title.startsWith("not connected")`)
}

// signsOut checks that nothing is signed out if the server can't be reached, and that otherwise the
// other tabs are, too.
func (f *front) signsOut(b *tab) {
	b.t.Helper()
	f.goWrong(theSession, answers(503, "application/json", `{"message":"Service Unavailable","report":"r3"}`))
	b.do(click(`document.querySelector("#sign-out")`))
	b.await("the page is still signed in", says("#sign-out-why", "still signed in"))
	f.goWrong(theSession, nil)
	f.goWrong(theGateway, nil)
	evaluate[bool](b, `(window.before = true, new BroadcastChannel("kapi `+underPrefix+`/").postMessage("out"), true)`)
	b.await("another tab has signed out", `!window.before && document.querySelector("#live-text").textContent === "Live"`)
	evaluate[bool](b, `(BroadcastChannel.prototype.postMessage = function (what) { sessionStorage.setItem("posted", this.name + " " + what) }, true)`)
	b.do(click(`document.querySelector("#sign-out")`))
	b.await("signed out", `document.querySelector("#sign-in-view").checkVisibility()`)
	if posted := evaluate[string](b, `sessionStorage.getItem("posted")`); posted != "kapi "+underPrefix+"/ out" {
		b.t.Errorf("the other tabs were sent %q", posted)
	}
	if path := strings.TrimPrefix(evaluate[string](b, `location.pathname`), underPrefix); path != "/" {
		b.t.Errorf("the page is at %s", path)
	}
}
