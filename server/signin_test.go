package server_test

import (
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/server"
)

const (
	asJSON = "Content-Type: application/json"
	asForm = "Content-Type: application/x-www-form-urlencoded"
)

// A door is a server with a sign-in page, and the tokens that it knows.
type door struct {
	*fixture
	tokens *counting
}

func newDoor(t *testing.T, o server.Options) *door {
	t.Helper()
	tokens := newTokens(t)
	authenticator := auth.NewAuthenticator(tokens)
	o.Authenticate, o.Page.SignIn = authenticator.Authenticate, authenticator
	return &door{newFixture(t, o), tokens}
}

// A signedIn is what a browser has after signing in.
type signedIn struct {
	name, cookie, half string
	expires            int64
}

// headers are what the page's requests carry.
func (s signedIn) headers() []string { return []string{s.cookieHeader(), s.halfHeader()} }

func (s signedIn) cookieHeader() string { return "Cookie: " + s.name + "=" + s.cookie }
func (s signedIn) halfHeader() string   { return "X-Kapi-Session: " + s.half }

// taken returns what an answer gives the browser, with the attributes of the cookie.
func taken(t *testing.T, w *httptest.ResponseRecorder) (s signedIn, attributes string) {
	t.Helper()
	var body struct {
		Session   string
		ExpiresAt int64 `json:"expires_at"`
	}
	set := w.Header().Values("Set-Cookie")
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != 200 || len(set) == 0 {
		t.Fatalf("%d %s %v", w.Code, w.Body, w.Header())
	}
	m := regexp.MustCompile(`^(kapi_[0-9a-f]{8})=([^;]+); (.*)$`).FindStringSubmatch(set[0])
	if m == nil {
		t.Fatalf("it sets %q", set)
	}
	return signedIn{m[1], m[2], body.Session, body.ExpiresAt}, m[3]
}

func (d *door) signIn(secret string, more ...string) signedIn {
	d.t.Helper()
	s, _ := taken(d.t, d.send("POST", "/page/session", `{"token":"`+secret+`"}`, append([]string{asJSON}, more...)...))
	return s
}

// row is what the store keeps of a session.
func (d *door) row(s signedIn) auth.Token {
	d.t.Helper()
	id, _, _ := strings.Cut(s.cookie, ".")
	token, err := d.tokens.FindToken(d.t.Context(), id)
	if err != nil {
		d.t.Fatal(err)
	}
	return token
}

// rows are the store's sessions.
func (d *door) rows() (all []auth.Token) {
	d.t.Helper()
	tokens, err := d.tokens.Tokens(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, token := range tokens {
		if token.Session {
			all = append(all, token)
		}
	}
	return all
}

func (d *door) list(headers ...string) int {
	d.t.Helper()
	return d.send("GET", "/v4/kapi/actions", "", headers...).Code
}

func TestSignIn(t *testing.T) {
	d := newDoor(t, server.Options{})
	secret, token := d.tokens.add(t, auth.TypeUser)
	bot, botToken := d.tokens.add(t, auth.TypeBot)
	for name, tt := range map[string]struct{ given, token string }{
		"a token":       {secret, token.ID},
		"with a scheme": {` bearer  ` + secret + `\n`, token.ID},
		"a bot's":       {"Bot " + bot, botToken.ID},
	} {
		before := time.Now()
		w := d.send("POST", "/page/session", `{"token":"`+tt.given+`"}`, asJSON)
		s, attributes := taken(t, w)
		if want := "Path=/; Max-Age=604800; HttpOnly; SameSite=Strict"; attributes != want || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: the cookie has %s, want %s; %v", name, attributes, want, w.Header())
		}
		if until := time.UnixMilli(s.expires); until.Before(before.Add(auth.SessionFor-time.Second)) || until.After(time.Now().Add(auth.SessionFor)) {
			t.Errorf("%s: until %v", name, until)
		}
		if got := d.list(s.headers()...); got != 200 {
			t.Errorf("%s: with the session: %d", name, got)
		}
		kept := d.row(s)
		if line := d.log.line(t, "signed in on the page", kept.ID); line["by"] != "ops ("+tt.token+")" || !kept.Session || kept.By != tt.token {
			t.Errorf("%s: the log says that it was %v, the store has %+v", name, line["by"], kept)
		}
		for _, text := range []string{s.cookie, s.half} {
			if strings.Contains(d.log.String(), text) {
				t.Errorf("%s: the log holds a half", name)
			}
		}
	}
	if strings.Contains(d.log.String(), secret) {
		t.Error("the log holds the token")
	}
}

func TestSignInIsRefused(t *testing.T) {
	d := newDoor(t, server.Options{RateLimitAddress: -1, MaxBody: 1000})
	secret, _ := d.tokens.add(t, auth.TypeUser)
	plain, _ := d.tokens.addWith(t, auth.TypeUser, 0, 0)
	expired, token := d.tokens.addWith(t, auth.TypeUser, auth.Admin, time.Millisecond)
	kapitest.Eventually(t, "it has expired", func() bool { return time.Now().UnixMilli() >= token.ExpiresAt })
	s := d.signIn(secret)
	rows := len(d.rows())
	large := strings.Repeat("x", 2000)
	for _, tt := range []struct {
		body, kind string
		status     int
		golden     string // "" where the message tells more
	}{
		{`{"token":"wrong"}`, asJSON, 401, "invalid"},
		{"token=wrong", asForm, 401, "invalid"},
		{`{"token":"` + expired + `"}`, asJSON, 401, "expired"},
		{`{"token":"` + plain + `"}`, asJSON, 403, "needsadmin"},
		{"token=" + plain, asForm, 403, "needsadmin"},
		{`{"token":"` + s.cookie + `"}`, asJSON, 401, "invalid"},
		{`{"token":"` + s.half + `"}`, asJSON, 401, "invalid"},
		{`{"token":"a b;c\r\nd"}`, asJSON, 401, "invalid"},
		{`{"token":" "}`, asJSON, 401, "notoken"},
		{`{}`, asJSON, 401, "notoken"},
		{"", asJSON, 401, "notoken"},
		{"", asForm, 401, "notoken"},
		{"token=%zz", asForm, 400, ""},
		{"token=" + large, asForm, 413, ""},
		{`{"token":"` + large + `"}`, asJSON, 413, ""},
		{`{"token":"` + secret + `","more":1}`, asJSON, 400, ""},
		{`{"token":"` + secret + `","code":"AAAA"}`, asJSON, 400, ""},
		{`{"code":"AAAA"}`, asJSON, 401, ""},
		{`{"token":"` + secret + `"}`, "Content-Type: text/plain", 415, "type"},
		{`{"token":"` + secret + `"}`, asJSON + "; charset=utf-16", 415, ""},
		{"token=" + secret, asForm + "; charset=iso-8859-1", 415, "charset"},
	} {
		// What the browser has already doesn't count.
		w := d.send("POST", "/page/session", tt.body, append(s.headers(), tt.kind, "Authorization: Bearer "+secret)...)
		if w.Code != tt.status || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("%.40s (%s): %d %v", tt.body, tt.kind, w.Code, w.Header())
		}
		if tt.golden != "" {
			golden(t, tt.golden+".json", w)
		}
	}
	if got := len(d.rows()); got != rows || d.list(s.headers()...) != 200 {
		t.Errorf("there are %d sessions, want %d", got, rows)
	}
	d.tokens.fail.Store(true)
	if w := d.send("POST", "/page/session", `{"token":"`+secret+`"}`, asJSON); w.Code != 503 || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("in an outage: %d %v", w.Code, w.Header())
	}
}

// A page of another site can neither sign its reader in as somebody else nor sign them out.
func TestSignInFromElsewhere(t *testing.T) {
	d := newDoor(t, server.Options{})
	secret, _ := d.tokens.add(t, auth.TypeUser)
	s := d.signIn(secret)
	for _, elsewhere := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example", "Origin: null"} {
		for _, method := range []string{"POST", "DELETE"} {
			w := d.send(method, "/page/session", "token="+secret, append(s.headers(), asForm, elsewhere, "Authorization: Bearer "+secret)...)
			golden(t, "crossorigin.json", w)
			if w.Code != 403 || w.Header().Get("Set-Cookie") != "" || d.list(s.headers()...) != 200 {
				t.Errorf("%s, %s: %d %v", method, elsewhere, w.Code, w.Header())
			}
		}
	}
	for own, target := range map[string]string{
		"Sec-Fetch-Site: same-origin": "/page/session", "Origin: http://example.com": "/page/session", "Origin: https://example.com": "https://example.com/page/session",
	} {
		if w := d.send("POST", target, "token="+secret, asForm, own); w.Code != 303 {
			t.Errorf("%s: %d", own, w.Code)
		}
	}
	for foreign, target := range map[string]string{"Origin: https://example.com": "/page/session", "Origin: http://example.com": "https://example.com/page/session"} {
		if w := d.send("POST", target, "token="+secret, asForm, foreign); w.Code != 403 {
			t.Errorf("%s at %s: %d", foreign, target, w.Code)
		}
	}
}

// The form works in browsers where the page's script has not run yet: it leads to the page with a code.
func TestSignInByForm(t *testing.T) {
	d := newDoor(t, server.Options{})
	secret, token := d.tokens.add(t, auth.TypeUser)
	w := d.send("POST", "/page/session", "token="+secret, asForm)
	code, ok := strings.CutPrefix(w.Header().Get("Location"), "../#/enter/")
	if w.Code != 303 || !ok || w.Header().Get("Set-Cookie") != "" || len(d.rows()) != 0 {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	s, _ := taken(t, d.send("POST", "/page/session", `{"code":"`+code+`"}`, asJSON))
	if got := d.list(s.headers()...); got != 200 || d.rows()[0].By != token.ID {
		t.Errorf("%d, with %+v", got, d.rows())
	}
	if w := d.send("POST", "/page/session", `{"code":"`+code+`"}`, asJSON); w.Code != 401 {
		t.Errorf("the code a second time: %d", w.Code)
	}
	w = d.send("POST", "/page/session", "token="+secret, asForm)
	if err := d.tokens.RemoveToken(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	code = strings.TrimPrefix(w.Header().Get("Location"), "../#/enter/")
	if w := d.send("POST", "/page/session", `{"code":"`+code+`"}`, asJSON); w.Code != 401 {
		t.Errorf("the code of a token that is gone: %d", w.Code)
	}
}

// Signing in again leaves one session.
func TestSignInAgain(t *testing.T) {
	d := newDoor(t, server.Options{})
	secret, _ := d.tokens.add(t, auth.TypeUser)
	first := d.signIn(secret)
	second := d.signIn(secret, first.headers()...)
	if d.list(first.headers()...) != 401 || d.list(second.headers()...) != 200 || len(d.rows()) != 1 {
		t.Errorf("there are %+v", d.rows())
	}
	third := d.signIn(secret, second.cookieHeader()) // in another window: half of it ends nothing
	if d.list(second.headers()...) != 200 || d.list(third.headers()...) != 200 {
		t.Error("half a session was enough to end it")
	}
}

func TestSignOut(t *testing.T) {
	d := newDoor(t, server.Options{})
	secret, _ := d.tokens.add(t, auth.TypeUser)
	s, other := d.signIn(secret), d.signIn(secret)
	gone := s.name + "=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
	for name, tt := range map[string]struct {
		headers []string
		left    int
	}{
		"nothing": {nil, 200}, "the cookie": {[]string{s.cookieHeader()}, 200}, "the other half": {[]string{s.halfHeader()}, 200},
		"halves of two": {[]string{s.cookieHeader(), other.halfHeader()}, 200},
	} {
		w := d.send("DELETE", "/page/session", "", tt.headers...)
		if w.Code != 204 || w.Header().Get("Set-Cookie") != gone || d.list(s.headers()...) != tt.left {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
	id := d.row(s).ID
	if w := d.send("DELETE", "/page/session", "", s.headers()...); w.Code != 204 || w.Header().Get("Set-Cookie") != gone {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if d.list(s.headers()...) != 401 || d.list(other.headers()...) != 200 || d.list("Authorization: Bearer "+secret) != 200 || len(d.rows()) != 1 {
		t.Errorf("after it there are %+v", d.rows())
	}
	d.log.line(t, "signed out on the page", id)
	if w := d.send("DELETE", "/page/session", "", s.headers()...); w.Code != 204 {
		t.Errorf("once more: %d", w.Code)
	}
	d.tokens.fail.Store(true)
	if w := d.send("DELETE", "/page/session", "", other.headers()...); w.Code != 503 || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("in an outage: %d %v", w.Code, w.Header())
	}
}
