package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/server"
)

// A page whose name resolves to this machine has the same origin as the server for its browser, and may send
// every header that a proxy sends. It learns nothing, and uses up no limit.
func TestReboundPage(t *testing.T) {
	f := newFixture(t, server.Options{
		Hosts:            []string{"kapi.example"},
		TrustedProxies:   []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		RateLimitAddress: 2, Page: server.Page{SignIn: auth.NewAuthenticator(newTokens(t))},
		Metrics: http.NotFoundHandler(),
	})
	running := f.start("reshard")
	web := httptest.NewServer(f)
	defer web.Close()
	host := "evil.example:" + web.URL[strings.LastIndexByte(web.URL, ':')+1:]
	for _, more := range []http.Header{
		{},
		{"X-Forwarded-Host": {"kapi.example"}},
		{"X-Forwarded-Host": {"localhost"}, "X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Proto": {"http"}},
	} {
		more.Set("Origin", "http://"+host)
		more.Set("Cookie", "sess=admin") // of a page that has been told it
		for _, asks := range []string{
			"GET /", "GET /healthz", "GET /readyz", "GET /metrics", "GET /v4/gateway", "GET /nothing", "GET //", "OPTIONS /v4/kapi/actions",
			"GET /v4/kapi/actions", "GET /kapi/actions/" + running.ID, "POST /v4/kapi/actions/" + running.ID + "/cancel",
			"POST /page/session", "GET /page/enter?code=X",
		} {
			method, path, _ := strings.Cut(asks, " ")
			r := request(method, "http://"+host+path, "")
			r.RemoteAddr, r.Header = "127.0.0.1:1", more.Clone()
			w := send(f, r)
			golden(t, "host.json", w)
			checkRefusal(t, asks, w)
			if w.Code != 421 || w.Header().Get("X-RateLimit-Remaining") != "2" || w.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s with %v: %d %v", asks, more, w.Code, w.Header())
			}
		}
		_, resp, err := websocket.Dial(t.Context(), web.URL+"/gateway?v=4", &websocket.DialOptions{Host: host, HTTPHeader: more.Clone()})
		if err == nil || resp == nil || resp.StatusCode != 421 {
			t.Errorf("the gateway with %v: %v, %v", more, resp, err)
		}
	}
	if w := f.as("admin", "GET", "http://localhost/v4/kapi/actions/"+running.ID); w.Code != 200 || strings.Contains(w.Body.String(), "cancel_requested_at") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A server answers for its own hosts, on any port, in any form, and also behind a proxy that says which host
// was asked for.
func TestHosts(t *testing.T) {
	f := newFixture(t, server.Options{
		Hosts:          []string{"Kapi.Example", "10.0.0.9"},
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, RateLimitAddress: -1,
	})
	web := httptest.NewServer(f)
	defer web.Close()
	for _, c := range []struct {
		host, remote, forwarded string
		want                    int
	}{
		{"localhost", "", "", 200},
		{"127.0.0.1:4080", "", "", 200},
		{"[::1]:4080", "", "", 200},
		{"kapi.example.:443", "", "", 200},
		{"10.0.0.9", "10.0.0.1:1", "", 200},
		{"10.0.0.9:4080", "10.0.0.1:1", "kapi.example", 200},
		{"10.0.0.9:4080", "10.0.0.1:1", "evil.example", 421},
		{"evil.example", "10.0.0.1:1", "kapi.example", 421},
		{"10.0.0.9", "192.0.2.1:1", "evil.example", 200}, // nobody that is believed says so
		{"192.0.2.1", "", "", 421},
		{"", "", "", 421},
	} {
		r := request("GET", "/v4/gateway", "")
		r.Host = c.host
		if c.remote != "" {
			r.RemoteAddr = c.remote
		}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-Host", c.forwarded)
		}
		if w := send(f, r); w.Code != c.want {
			t.Errorf("%+v: %d %s", c, w.Code, w.Body)
		}
	}
	defer func() {
		if v := recover(); v == nil || !strings.Contains(v.(string), `"kapi.example:443"`) {
			t.Errorf("New with a port: %v", v)
		}
	}()
	server.New(f.peer, server.Options{Authenticate: byName, Hosts: []string{"kapi.example:443"}})
}

// What a trusted proxy passes on is believed. So each configuration of one in the documentation sets or removes all
// that is.
func TestDocumentedProxies(t *testing.T) {
	found := 0
	for _, page := range []string{"page.md", "scaling.md"} {
		text, err := os.ReadFile("../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?s)```(nginx|haproxy)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			found++
			for _, name := range []string{"For", "Proto", "Host", "Prefix"} {
				line := `(?m)^\s*(proxy_set_header|http-request (set|del)-header) X-Forwarded-` + name + `\b`
				if name == "For" && m[1] == "haproxy" {
					line = `(?m)^\s*option forwardfor$`
				}
				if !regexp.MustCompile(line).MatchString(m[2]) {
					t.Errorf("%s: %s passes a client's X-Forwarded-%s on", page, m[1], name)
				}
			}
		}
	}
	if found != 3 {
		t.Errorf("there are %d configurations", found)
	}
}

// A prefix must be a clean path: a browser would change any other, or take its beginning for a host.
func TestForwardedPrefix(t *testing.T) {
	d := newDoor(t, server.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	secret, _ := d.tokens.add(t, auth.TypeUser)
	for _, bad := range []string{
		"//evil.example", "//", "/a/../b", "/..", "/a//b", "/a/./b", "/a//", "/%2e%2e/x", "/%2F", "/a\\b", "/\\evil.example", "\\a",
		"a", "http://evil.example/a", "/a?b", "/a#b", "/a;b", "/a b", "/ops, //evil.example",
	} {
		r := request("GET", "/v4/gateway", "")
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set("X-Forwarded-Prefix", bad)
		expect(t, send(d, r), 200, `{"url":"ws://example.com/gateway"}`)
		r = request("POST", "/page/session", `{"token":"`+secret+`"}`, asJSON)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set("X-Forwarded-Prefix", bad)
		if _, attributes := taken(t, send(d, r)); !strings.HasPrefix(attributes, "Path=/; ") {
			t.Errorf("%q: %s", bad, attributes)
		}
	}
}
