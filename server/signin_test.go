package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/server"
)

const (
	asJSON = "Content-Type: application/json"
	asForm = "Content-Type: application/x-www-form-urlencoded"
)

func TestSignIn(t *testing.T) {
	tokens := newTokens(t)
	f := newFixture(t, server.Options{Authenticate: auth.NewAuthenticator(tokens).Authenticate, Page: server.Page{SignIn: true}})
	secret, token := tokens.add(t, auth.TypeUser)
	bot, _ := tokens.add(t, auth.TypeBot)
	for name, tt := range map[string]struct {
		body, kind, location string
		status               int
		secret               string
	}{
		"JSON":          {`{"token":"` + secret + `"}`, asJSON, "", 204, secret},
		"a form":        {"token=" + secret, asForm, "../", 303, secret},
		"with a scheme": {`{"token":" bearer  ` + secret + `\n"}`, asJSON, "", 204, secret},
		"a bot's":       {`{"token":"Bot ` + bot + `"}`, asJSON, "", 204, bot},
	} {
		w := f.send("POST", "/page/session", tt.body, tt.kind)
		want := "sess=" + tt.secret + "; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"
		if got := w.Header().Values("Set-Cookie"); w.Code != tt.status || w.Header().Get("Location") != tt.location || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %d, %v\nwant %s", name, w.Code, w.Header(), want)
		}
		expect(t, w, tt.status, "")
	}
	if w := f.send("GET", "/v4/kapi/actions", "", "Cookie: sess="+secret); w.Code != 200 {
		t.Errorf("with the cookie: %d", w.Code)
	}
	if line := f.log.line(t, "signed in on the page", token.ID); line["by"] != "ops ("+token.ID+")" {
		t.Errorf("the log says that it was %v", line["by"])
	}
	if strings.Contains(f.log.String(), secret) {
		t.Error("the log holds the token")
	}
}

func TestSignInIsRefused(t *testing.T) {
	f := newFixture(t, server.Options{Page: server.Page{SignIn: true}, RatePerAddress: -1, MaxBody: 1000})
	large := strings.Repeat("x", 2000)
	for _, tt := range []struct {
		body, kind string
		status     int
		golden     string // "" where the message tells more
	}{
		{`{"token":"wrong"}`, asJSON, 401, "invalid"},
		{"token=wrong", asForm, 401, "invalid"},
		{`{"token":"expired"}`, asJSON, 401, "expired"},
		{`{"token":"plain"}`, asJSON, 403, "forbidden"},
		{`{"token":"a b;c\r\nd"}`, asJSON, 401, "invalid"},
		{`{"token":" "}`, asJSON, 401, "notoken"},
		{`{}`, asJSON, 401, "notoken"},
		{"", asJSON, 401, "notoken"},
		{"", asForm, 401, "notoken"},
		{"token=%zz", asForm, 400, ""},
		{"token=" + large, asForm, 413, ""},
		{`{"token":"` + large + `"}`, asJSON, 413, ""},
		{`{"token":"admin","more":1}`, asJSON, 400, ""},
		{`{"token":"admin"}`, "Content-Type: text/plain", 415, "type"},
		{`{"token":"outage"}`, asJSON, 503, "unavailable"},
	} {
		// What the browser has already doesn't count.
		w := f.send("POST", "/page/session", tt.body, tt.kind, "Cookie: sess=admin", "Authorization: Bearer admin")
		if w.Code != tt.status || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%.40s (%s): %d %v", tt.body, tt.kind, w.Code, w.Header())
		}
		if tt.golden != "" {
			golden(t, tt.golden+".json", w)
		}
	}
}

// A page of another site can neither sign its reader in, as somebody else, nor out.
func TestSignInFromElsewhere(t *testing.T) {
	f := newFixture(t, server.Options{Page: server.Page{SignIn: true}})
	for _, elsewhere := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"} {
		for _, method := range []string{"POST", "DELETE"} {
			w := f.send(method, "/page/session", "token=admin", asForm, elsewhere, "Authorization: Bearer admin")
			golden(t, "crossorigin.json", w)
			if w.Code != 403 || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s, %s: %d %v", method, elsewhere, w.Code, w.Header())
			}
		}
	}
	for _, own := range []string{"Sec-Fetch-Site: same-origin", "Origin: http://example.com", "Origin: https://example.com"} {
		if w := f.send("POST", "/page/session", "token=admin", asForm, own); w.Code != 303 {
			t.Errorf("%s: %d", own, w.Code)
		}
	}
}

func TestCookieFitsHowTheClientCame(t *testing.T) {
	f := newFixture(t, server.Options{Page: server.Page{SignIn: true}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	mux := http.NewServeMux()
	mux.Handle("/", f)
	mux.Handle("/internal/kapi/", http.StripPrefix("/internal/kapi", f))
	for name, tt := range map[string]struct {
		prefix, remote, proto, stripped string
		tls                             bool
		want                            string
	}{
		"plain":                   {"", "192.0.2.1:1", "", "", false, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"},
		"TLS":                     {"", "192.0.2.1:1", "", "", true, "Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict"},
		"a trusted proxy's TLS":   {"", "10.0.0.1:1", "https", "", false, "Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict"},
		"anybody says so":         {"", "192.0.2.1:1", "https", "/x", false, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"},
		"under a prefix":          {"/internal/kapi", "192.0.2.1:1", "", "", false, "Path=/internal/kapi/; Max-Age=2592000; HttpOnly; SameSite=Strict"},
		"a prefix that was taken": {"", "10.0.0.1:1", "", "/ops/", false, "Path=/ops/; Max-Age=2592000; HttpOnly; SameSite=Strict"},
		"two prefixes":            {"/internal/kapi", "10.0.0.1:1", "", "/ops", false, "Path=/ops/internal/kapi/; Max-Age=2592000; HttpOnly; SameSite=Strict"},
		"no prefix":               {"", "10.0.0.1:1", "", "/ops; Domain=example.com", false, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"},
		"nor that":                {"", "10.0.0.1:1", "", "ops", false, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"},
	} {
		r := request("POST", tt.prefix+"/page/session", `{"token":"admin"}`, asJSON)
		if r.RemoteAddr = tt.remote; tt.proto != "" {
			r.Header.Set("X-Forwarded-Proto", tt.proto)
		}
		r.Header.Set("X-Forwarded-Prefix", tt.stripped)
		if tt.tls {
			r.TLS = &tls.ConnectionState{}
		}
		w := send(mux, r)
		if got := w.Header().Get("Set-Cookie"); w.Code != 204 || got != "sess=admin; "+tt.want {
			t.Errorf("%s: %d %s", name, w.Code, got)
		}
		r = request("DELETE", tt.prefix+"/page/session", "")
		if r.RemoteAddr = tt.remote; tt.tls {
			r.TLS = &tls.ConnectionState{}
		}
		w = send(mux, r)
		if got := w.Header().Get("Set-Cookie"); w.Code != 204 || !strings.HasPrefix(got, "sess=; Path="+tt.prefix+"/; Max-Age=0; HttpOnly") {
			t.Errorf("%s, signing out: %d %s", name, w.Code, got)
		}
	}
}

// Guessing is charged like everywhere else.
func TestSignInIsLimited(t *testing.T) {
	tokens := newTokens(t)
	f := newFixture(t, server.Options{Authenticate: auth.NewAuthenticator(tokens).Authenticate, RatePerAddress: 3, Page: server.Page{SignIn: true}})
	refused := 0
	for range 50 {
		wrong, _, err := auth.New("nobody", auth.TypeUser, auth.Admin, 0)
		if err != nil {
			t.Fatal(err)
		}
		if w := f.send("POST", "/page/session", `{"token":"`+wrong+`"}`, asJSON); w.Code == 429 {
			refused++
		}
	}
	if refused < 40 || tokens.lookups.Load() > 10 {
		t.Errorf("of 50 wrong tokens %d were refused unseen, and %d looked up", refused, tokens.lookups.Load())
	}
}

// linker makes links, whose token is that of an admin.
type linker struct {
	*fixture
	made atomic.Int64
	err  atomic.Pointer[error]
}

func newLinker(t *testing.T) *linker {
	return &linker{fixture: newFixture(t, server.Options{Page: server.Page{SignIn: true}})}
}

func (l *linker) link() string {
	return "/" + l.Handler.(*documented).SignInLink(func(context.Context) (string, error) {
		if p := l.err.Load(); p != nil {
			return "", *p
		}
		l.made.Add(1)
		return "admin", nil
	})
}

// led tells where an answer leads, and whether it signs in.
func led(w *httptest.ResponseRecorder) string {
	return fmt.Sprintf("%d to %s, cookie %.10s", w.Code, w.Header().Get("Location"), w.Header().Get("Set-Cookie"))
}

const (
	signedIn = "303 to ../, cookie sess=admin"
	noGood   = "303 to ../#/link, cookie "
)

func TestLinkSignsInOnce(t *testing.T) {
	l := newLinker(t)
	link, other := l.link(), l.link()
	if link == other || !strings.HasPrefix(link, "/page/enter?code=") {
		t.Fatalf("links %s and %s", link, other)
	}
	if got := led(l.send("HEAD", link, "")); got != "303 to ../, cookie " {
		t.Errorf("a look ahead: %s", got)
	}
	if got := led(l.send("GET", link, "")); got != signedIn {
		t.Errorf("the first time: %s", got)
	}
	for name, target := range map[string]string{
		"the second time": link, "another code": "/page/enter?code=AAAA", "no code": "/page/enter", "a bad query": "/page/enter?code=%zz",
	} {
		if got := led(l.send("GET", target, "")); got != noGood {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := led(l.send("GET", other, "")); got != signedIn || l.made.Load() != 2 {
		t.Errorf("the other link: %s; %d tokens were made", got, l.made.Load())
	}
	if code := strings.TrimPrefix(link, "/page/enter?code="); strings.Contains(l.log.String(), code) {
		t.Error("the log holds the code")
	}
}

func TestLinkIsUsedByOne(t *testing.T) {
	l := newLinker(t)
	link := l.link()
	var group sync.WaitGroup
	var in atomic.Int64
	for range 50 {
		group.Go(func() {
			if led(l.send("GET", link, "")) == signedIn {
				in.Add(1)
			}
		})
	}
	group.Wait()
	if in.Load() != 1 || l.made.Load() != 1 {
		t.Errorf("%d came in, %d tokens were made", in.Load(), l.made.Load())
	}
}

func TestLinkSurvivesAnOutage(t *testing.T) {
	l := newLinker(t)
	link := l.link()
	err := errors.Join(kapi.ErrUnavailable, errors.New("the disk is gone"))
	l.err.Store(&err)
	w := l.send("GET", link, "")
	golden(t, "unavailable.json", w)
	if w.Code != 503 || w.Header().Get("Location") != "" || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("in the outage: %d %v", w.Code, w.Header())
	}
	l.err.Store(nil)
	if got := led(l.send("GET", link, "")); got != signedIn {
		t.Errorf("after it: %s", got)
	}
}

func TestLinkExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &linker{fixture: &fixture{t: t}}
		s := limited(server.Options{Page: server.Page{SignIn: true}}).(*server.Server)
		l.Handler = &documented{t, s}
		early, late := l.link(), l.link()
		time.Sleep(server.LinkFor - time.Second)
		if got := led(l.send("GET", early, "")); got != signedIn {
			t.Errorf("in time: %s", got)
		}
		time.Sleep(time.Second)
		if got := led(l.send("GET", late, "")); got != noGood {
			t.Errorf("too late: %s", got)
		}
	})
}
