package server_test

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/server"
)

func TestCookieFitsHowTheClientCame(t *testing.T) {
	d := newDoor(t, server.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	secret, _ := d.tokens.add(t, auth.TypeUser)
	mux := http.NewServeMux()
	mux.Handle("/", d)
	mux.Handle("/internal/kapi/", http.StripPrefix("/internal/kapi", d))
	for name, tt := range map[string]struct {
		prefix, remote, proto, stripped string
		tls                             bool
		path, secure                    string
	}{
		"plain":                   {"", "192.0.2.1:1", "", "", false, "/", ""},
		"TLS":                     {"", "192.0.2.1:1", "", "", true, "/", "Secure; "},
		"a trusted proxy's TLS":   {"", "10.0.0.1:1", "https", "", false, "/", "Secure; "},
		"anybody says so":         {"", "192.0.2.1:1", "https", "/x", false, "/", ""},
		"under a prefix":          {"/internal/kapi", "192.0.2.1:1", "", "", false, "/internal/kapi/", ""},
		"a prefix that was taken": {"", "10.0.0.1:1", "", "/ops/", false, "/ops/", ""},
		"two prefixes":            {"/internal/kapi", "10.0.0.1:1", "", "/ops", false, "/ops/internal/kapi/", ""},
		"no prefix":               {"", "10.0.0.1:1", "", "/ops; Domain=example.com", false, "/", ""},
		"nor that":                {"", "10.0.0.1:1", "", "ops", false, "/", ""},
		"of several the last":     {"", "10.0.0.1:1", "http, https", "/evil, /ops", false, "/ops/", "Secure; "},
		"the root":                {"", "10.0.0.1:1", "", "/", false, "/", ""},
	} {
		ask := func(method, body string, more ...string) *http.Request {
			r := request(method, tt.prefix+"/page/session", body, more...)
			if r.RemoteAddr = tt.remote; tt.proto != "" {
				r.Header.Set("X-Forwarded-Proto", tt.proto)
			}
			r.Header.Set("X-Forwarded-Prefix", tt.stripped)
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			return r
		}
		s, attributes := taken(t, send(mux, ask("POST", `{"token":"`+secret+`"}`, asJSON)))
		if want := "Path=" + tt.path + "; Max-Age=604800; HttpOnly; " + tt.secure + "SameSite=Strict"; attributes != want {
			t.Errorf("%s: %s, want %s", name, attributes, want)
		}
		w := send(mux, ask("DELETE", "", s.headers()...))
		want := s.name + "=; Path=" + tt.path + "; Max-Age=0; HttpOnly; " + tt.secure + "SameSite=Strict"
		if got := w.Header().Get("Set-Cookie"); w.Code != 204 || got != want {
			t.Errorf("%s, signing out: %d %s, want %s", name, w.Code, got, want)
		}
	}
}

// The list is preloaded only if the cookie alone authenticates the page.
func TestListIsFetchedBeforehand(t *testing.T) {
	const hint = `<link rel="preload" as="fetch" href="v4/kapi/actions" crossorigin>`
	for want, f := range map[bool]*fixture{true: newFixture(t, server.Options{}), false: newDoor(t, server.Options{}).fixture} {
		if body := f.send("GET", "/", "").Body.String(); strings.Contains(body, hint) != want || strings.Contains(body, "<!--") {
			t.Errorf("it is there: %v\n%.2000s", !want, body)
		}
	}
}

// identify opens a connection and says this; it returns what came of it: a type, or a close code.
func identify(t *testing.T, url, message string, headers ...string) (*websocket.Conn, string) {
	t.Helper()
	header := http.Header{}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		header.Add(name, value)
	}
	conn, _, err := websocket.Dial(t.Context(), url+"/gateway?v=4", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	if _, _, err := conn.Read(t.Context()); err != nil { // hello
		t.Fatal(err)
	}
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
	return conn, heard(t, conn)
}

func heard(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	ctx := kapitest.Within(t)
	_, data, err := conn.Read(ctx)
	var frame struct{ T string }
	if err == nil {
		err = json.Unmarshal(data, &frame)
	}
	if code := websocket.CloseStatus(err); code != -1 {
		return strconv.Itoa(int(code))
	}
	if err != nil {
		t.Fatal(err)
	}
	return frame.T
}

// The gateway wants both halves, too, and closes what a session has opened when that ends.
func TestSessionOnTheGateway(t *testing.T) {
	d := newDoor(t, server.Options{RateLimitAddress: -1})
	web := httptest.NewServer(d)
	defer web.Close()
	defer func() {
		if err := d.Handler.(*documented).Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	secret, token := d.tokens.add(t, auth.TypeUser)
	s, other := d.signIn(secret), d.signIn(secret)
	origin := "Origin: " + web.URL
	with := func(token string) string { return `{"op":4,"d":{"token":"` + token + `","intents":64}}` }
	for name, tt := range map[string]struct {
		token, want string
		headers     []string
	}{
		"both":                           {s.half, "READY", []string{origin, s.cookieHeader()}},
		"the token":                      {secret, "READY", nil},
		"the token, from a page":         {secret, "READY", []string{origin}},
		"the cookie":                     {"", "4004", []string{origin, s.cookieHeader()}},
		"the cookie twice":               {s.cookie, "4004", []string{origin, s.cookieHeader()}},
		"the cookie and another's half":  {other.half, "4004", []string{origin, s.cookieHeader()}},
		"the other half":                 {s.half, "4004", []string{origin}},
		"the other half, no page":        {s.half, "4004", nil},
		"the token in sess, from a page": {"", "4004", []string{origin, "Cookie: sess=" + secret}},
		"the token in sess":              {"", "4004", []string{"Cookie: sess=" + secret}},
	} {
		if _, got := identify(t, web.URL, with(tt.token), tt.headers...); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	mine, _ := identify(t, web.URL, with(s.half), origin, s.cookieHeader())
	others, _ := identify(t, web.URL, with(other.half), origin, other.cookieHeader())
	if w := d.send("DELETE", "/page/session", "", s.headers()...); w.Code != 204 {
		t.Fatal(w.Code)
	}
	if got := heard(t, mine); got != "4004" {
		t.Errorf("signed out, it hears %s", got)
	}
	d.failed("audit")
	if got := heard(t, others); got != "KAPI_ACTION_UPDATE" {
		t.Errorf("another session hears %s", got)
	}
	if err := d.tokens.RemoveToken(t.Context(), token.ID); err != nil { // another process does
		t.Fatal(err)
	}
	for got := ""; got != "4004"; {
		if got = heard(t, others); got != "KAPI_ACTION_UPDATE" && got != "4004" {
			t.Fatalf("without its token it hears %s", got)
		}
	}
}
