package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/server"
)

func TestRefusals(t *testing.T) {
	f := newFixture(t, server.Options{MaxBody: 64, RateLimitAddress: -1})
	running := "/v4/kapi/actions/" + f.start("reshard").ID
	const (
		admin  = "Authorization: Bearer admin"
		cookie = "Cookie: sess=admin"
		secure = "https://example.com"
		asJSON = "Content-Type: application/json"
		none   = "/kapi/actions/none"
	)
	for _, c := range []struct {
		method, target, body string
		headers              []string
		status               int
		golden               string
	}{
		// Who asks.
		{"GET", "/kapi/actions", "", nil, 401, "notoken"},
		{"GET", "/kapi/actions", "", []string{"Authorization: Bearer wrong"}, 401, "invalid"},
		{"GET", "/kapi/actions", "", []string{"Authorization: Bearer unknown"}, 401, "invalid"},
		{"GET", "/kapi/actions", "", []string{"Authorization: Bearer expired"}, 401, "expired"},
		{"GET", "/kapi/actions", "", []string{"Authorization: Bearer plain"}, 403, "needsrun"},
		{"GET", "/kapi/actions", "", []string{"Authorization: Bearer outage"}, 503, "unavailable"},
		// Without ADMIN a client learns nothing.
		{"GET", running, "", nil, 401, "notoken"},
		{"GET", none, "", nil, 401, "notoken"},
		{"POST", none + "/dismiss", "", nil, 401, "notoken"},
		{"GET", running, "", []string{"Authorization: Bearer plain"}, 403, "needsrun"},
		{"GET", none, "", []string{"Authorization: Bearer plain"}, 403, "needsrun"},
		{"POST", running + "/dismiss", "", []string{"Authorization: Bearer plain"}, 403, "needsadmin"},
		{"POST", none + "/dismiss", "", []string{"Authorization: Bearer plain"}, 403, "needsadmin"},
		{"POST", none + "/cancel?x=1", "{", []string{"Authorization: Bearer plain"}, 403, "needsrun"},
		// What does not exist.
		{"GET", none, "", []string{admin}, 404, "unknown"},
		{"GET", "/kapi/actions/%2e%2e", "", []string{admin}, 404, "unknown"},
		{"GET", "/kapi/actions/" + strings.Repeat("a", 5000), "", []string{admin}, 404, "unknown"},
		{"POST", none + "/dismiss", "", []string{admin}, 404, "unknown"},
		{"POST", none + "/cancel", "", []string{admin}, 404, "unknown"},
		{"GET", "/index.html", "", nil, 404, "noroute"},
		{"GET", "/page/", "", nil, 404, "noroute"},
		{"GET", "/page/nothing/main.js", "", nil, 404, "noroute"},
		{"GET", "/v3/kapi/actions", "", []string{admin}, 404, "noroute"},
		{"GET", "/v5/kapi/actions", "", []string{admin}, 404, "noroute"},
		{"GET", "/v04/kapi/actions", "", []string{admin}, 404, "noroute"},
		{"GET", "/V4/kapi/actions", "", []string{admin}, 404, "noroute"},
		{"GET", "/v4/v4/kapi/actions", "", []string{admin}, 404, "noroute"},
		{"GET", "/v4/healthz", "", nil, 404, "noroute"},
		{"GET", "/kapi/actions/", "", []string{admin}, 404, "noroute"},
		{"GET", "//kapi/actions", "", []string{admin}, 404, "noroute"},
		{"GET", "/kapi//actions", "", []string{admin}, 404, "noroute"},
		{"GET", "/kapi/./actions", "", []string{admin}, 404, "noroute"},
		{"GET", "/kapi/x/../actions", "", []string{admin}, 404, "noroute"},
		{"GET", "//", "", []string{admin}, 404, "noroute"},
		{"POST", running + "/dismiss/", "", []string{admin}, 404, "noroute"},
		{"POST", running + "/restart", "", []string{admin}, 404, "noroute"},
		{"GET", "/nothing", "", []string{"Authorization: Bearer wrong"}, 404, "noroute"},
		{"GET", "/nothing", "", []string{"Authorization: Bearer outage"}, 404, "noroute"},
		// What a later version will do.
		{"GET", "/v4/gateways", "", []string{admin}, 404, "noroute"},
		// What is there only if it is asked for.
		{"GET", "/metrics", "", []string{admin}, 404, "noroute"},
		// Methods.
		{"DELETE", running, "", []string{admin}, 405, "method"},
		{"DELETE", none, "", nil, 405, "method"},
		{"OPTIONS", "/kapi/actions", "", nil, 405, "method"},
		{"BREW", "/kapi/actions", "", []string{admin}, 405, "method"},
		{"GET", running + "/dismiss", "", []string{admin}, 405, "method"},
		{"HEAD", running + "/cancel", "", []string{admin}, 405, "method"},
		{"POST", "/healthz", "", nil, 405, "method"},
		{"PUT", "/readyz", "", nil, 405, "method"},
		// Queries.
		{"GET", "/kapi/actions?limit=1", "", []string{admin}, 400, "query"},
		{"GET", "/kapi/actions?zoo&limit=1", "", []string{admin}, 400, "query"},
		{"GET", running + "?limit=", "", []string{admin}, 400, "query"},
		{"POST", none + "/dismiss?limit=1", "", []string{admin}, 400, "query"},
		{"GET", "/kapi/actions?%zz", "", []string{admin}, 400, "malformed"},
		{"GET", "/kapi/actions?a;b", "", []string{admin}, 400, "malformed"},
		// Bodies.
		{"POST", running + "/dismiss", "hello", []string{admin, "Content-Type: text/plain"}, 415, "type"},
		{"POST", running + "/cancel", "a=b", []string{admin, "Content-Type: application/x-www-form-urlencoded"}, 415, "type"},
		{"POST", running + "/dismiss", "{}", []string{admin}, 415, "type"},
		{"POST", running + "/dismiss", "{}", []string{admin, "Content-Type: ;"}, 415, "type"},
		{"POST", running + "/dismiss", "{}", []string{admin, "Content-Type: application/json; charset=iso-8859-1"}, 415, "charset"},
		{"POST", running + "/cancel", "{\x00}\x00", []string{admin, `Content-Type: application/json; charset="ISO-8859-1"`}, 415, "charset"},
		{"POST", running + "/cancel", "\x1f\x8b\x08", []string{admin, asJSON, "Content-Encoding: gzip"}, 415, "coding"},
		{"POST", running + "/cancel", "{}", []string{admin, asJSON, "Content-Encoding: identity", "Content-Encoding: GZip "}, 415, "coding"},
		{"POST", "/kapi/actions", `{"title":"t"}`, []string{admin, asJSON, "Content-Encoding: gzip, identity"}, 415, "coding"},
		{"PATCH", running, `{"fence":1}`, []string{admin, asJSON, "Content-Encoding: gzip"}, 415, "coding"},
		{"POST", running + "/dismiss", strings.Repeat(" ", 65), []string{admin, asJSON}, 413, "toolarge"},
		{"POST", running + "/cancel", strings.Repeat("x", 65), []string{admin, "Content-Type: text/plain"}, 413, "toolarge"},
		{"POST", running + "/dismiss", "{", []string{admin, asJSON}, 400, "syntax"},
		{"POST", running + "/dismiss", " ", []string{admin, asJSON}, 400, "noobject"},
		{"POST", running + "/dismiss", "[]", []string{admin, asJSON}, 400, "noobject"},
		{"POST", running + "/cancel", "null", []string{admin, asJSON}, 400, "noobject"},
		{"POST", running + "/cancel", `{"force":true}`, []string{admin, asJSON}, 400, "field"},
		{"POST", running + "/cancel", `{}{}`, []string{admin, asJSON}, 400, "trailing"},
		{"POST", running + "/cancel", `{} x`, []string{admin, asJSON}, 400, "trailing"},
		// The wrong state, with every body that is fine.
		{"POST", running + "/dismiss", "", []string{admin}, 409, "notfailed"},
		{"POST", running + "/dismiss", "", []string{admin, "Content-Type: text/plain"}, 409, "notfailed"},
		{"POST", running + "/dismiss", "{}", []string{admin, asJSON}, 409, "notfailed"},
		{"POST", running + "/dismiss", " { } ", []string{admin, "Content-Type: Application/JSON; charset=utf-8"}, 409, "notfailed"},
		{"POST", running + "/dismiss", "{}", []string{admin, "Content-Type: application/json;charset=UTF8", "Content-Encoding: identity"}, 409, "notfailed"},
		{"POST", running + "/dismiss", "", []string{admin, "Content-Type: application/json; charset=utf-16", "Content-Encoding: gzip"}, 409, "notfailed"},
		// What a browser sends for another site.
		{"POST", running + "/dismiss", "", []string{cookie, "Sec-Fetch-Site: cross-site"}, 403, "crossorigin"},
		{"POST", running + "/dismiss", "", []string{cookie, "Sec-Fetch-Site: same-site"}, 403, "crossorigin"},
		{"POST", running + "/dismiss", "", []string{cookie, "Origin: https://evil.example"}, 403, "crossorigin"},
		{"POST", running + "/dismiss", "", []string{cookie, "Origin: null"}, 403, "crossorigin"},
		{"POST", running + "/dismiss", "", []string{"Authorization: Basic admin", "Sec-Fetch-Site: cross-site"}, 403, "crossorigin"},
		{"POST", none + "/cancel", "", []string{cookie, "Sec-Fetch-Site: cross-site"}, 403, "crossorigin"},
		{"POST", running + "/dismiss", "", []string{cookie, "Sec-Fetch-Site: same-origin"}, 409, "notfailed"},
		{"POST", running + "/dismiss", "", []string{cookie, "Origin: http://example.com"}, 409, "notfailed"},
		{"POST", running + "/dismiss", "", []string{cookie}, 409, "notfailed"},
		{"POST", running + "/dismiss", "", []string{admin, "Sec-Fetch-Site: cross-site"}, 409, "notfailed"},
		{"POST", running + "/dismiss", "", []string{cookie, "Origin: http://example.com:80"}, 409, "notfailed"},
		{"POST", secure + running + "/dismiss", "", []string{cookie, "Origin: https://example.com:443"}, 409, "notfailed"},
		{"POST", secure + running + "/dismiss", "", []string{cookie, "Origin: https://EXAMPLE.com."}, 409, "notfailed"},
		{"POST", secure + running + "/dismiss", "", []string{cookie, "Origin: https://example.com:80"}, 403, "crossorigin"},
		{"POST", secure + running + "/dismiss", "", []string{cookie, "Origin: http://example.com"}, 403, "crossorigin"},
		{"POST", running + "/dismiss", "", []string{cookie, "Origin: https://example.com"}, 403, "crossorigin"},
		{"POST", running + "/dismiss", "", []string{cookie, "Origin: https://example.com:443", "Sec-Fetch-Site: cross-site"}, 403, "crossorigin"},
		{"POST", running + "/dismiss", "", []string{"Authorization: bot admin", "Origin: null"}, 409, "notfailed"},
	} {
		w := f.send(c.method, c.target, c.body, c.headers...)
		if w.Code != c.status {
			t.Errorf("%s %.80s %q %q: %d, want %d", c.method, c.target, c.body, c.headers, w.Code, c.status)
		}
		golden(t, c.golden+".json", w)
		checkRefusal(t, c.method+" "+c.target, w)
	}
}

// checkRefusal checks what all refusals have in common.
func checkRefusal(t *testing.T, what string, w *httptest.ResponseRecorder) {
	t.Helper()
	h := w.Header()
	if h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" ||
		h.Get("X-Content-Type-Options") != "nosniff" || h.Get("ETag") != "" {
		t.Errorf("%s: headers %v", what, h)
	}
	if (h.Get("WWW-Authenticate") != "") != (w.Code == 401) {
		t.Errorf("%s: %d with WWW-Authenticate %q", what, w.Code, h.Get("WWW-Authenticate"))
	}
	if (h.Get("Allow") != "") != (w.Code == 405) {
		t.Errorf("%s: %d with Allow %q", what, w.Code, h.Get("Allow"))
	}
	if (h.Get("Retry-After") != "") != (w.Code == 503) {
		t.Errorf("%s: %d with Retry-After %q", what, w.Code, h.Get("Retry-After"))
	}
}

func TestAllowNamesTheMethods(t *testing.T) {
	f := newFixture(t, server.Options{})
	for path, want := range map[string]string{
		"/v4/kapi/actions":        "GET, HEAD, POST",
		"/kapi/actions/x":         "GET, HEAD, PATCH",
		"/healthz":                "GET, HEAD",
		"/kapi/actions/x/":        "",
		"/kapi/actions/x/dismiss": "POST",
		"/kapi/actions/x/cancel":  "POST",
	} {
		if got := f.as("admin", "DELETE", path).Header().Get("Allow"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// brokenBody ends before it should.
type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestBodyThatBreaksOff(t *testing.T) {
	f := newFixture(t, server.Options{})
	r := httptest.NewRequest("POST", "/kapi/actions/x/dismiss", brokenBody{})
	r.Header.Set("Authorization", "Bearer admin")
	w := send(f, r)
	golden(t, "broken.json", w)
	if w.Code != 400 {
		t.Errorf("%d", w.Code)
	}
}

func TestFaultsAreIncidents(t *testing.T) {
	for _, c := range []struct {
		fault  error
		status int
		golden string
		level  string
	}{
		{fmt.Errorf("%w: /data/kapi.db: the disk is gone", kapi.ErrUnavailable), 503, "unavailable.json", "WARN"},
		{kapi.ErrClosed, 503, "unavailable.json", "WARN"},
		{errors.New("row 7 makes no sense"), 500, "internal.json", "ERROR"},
	} {
		f := newFixture(t, server.Options{})
		running := f.start("reshard").ID
		f.store.failWith(c.fault)
		for _, path := range []string{
			"GET /v4/kapi/actions", "GET /v4/kapi/actions/" + running, "GET /kapi/actions/none",
			"POST /v4/kapi/actions/" + running + "/dismiss", "POST /v4/kapi/actions/" + running + "/cancel",
		} {
			method, target, _ := strings.Cut(path, " ")
			w := f.as("admin", method, target)
			golden(t, c.golden, w)
			if w.Code != c.status || (w.Header().Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("%s, %v: %d %v", path, c.fault, w.Code, w.Header())
			}
			line := f.log.line(t, incidentOf(t, w))
			if line["incident"] != incidentOf(t, w) || line["level"] != c.level || !strings.Contains(fmt.Sprint(line["error"]), c.fault.Error()) {
				t.Errorf("%s, %v: log %v", path, c.fault, line)
			}
		}
	}
}

func TestClosedPeer(t *testing.T) {
	f := newFixture(t, server.Options{})
	if err := f.peer.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"GET /kapi/actions", "GET /kapi/actions/x", "POST /kapi/actions/x/dismiss", "POST /kapi/actions/x/cancel"} {
		method, target, _ := strings.Cut(path, " ")
		w := f.as("admin", method, target)
		golden(t, "unavailable.json", w)
		if w.Code != 503 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if w := f.send("GET", "/readyz", ""); w.Code != 503 {
		t.Errorf("readyz: %d", w.Code)
	}
}

func incidentOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct {
		Incident string `json:"report"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Incident == "" {
		t.Fatalf("no incident in %s (%v)", w.Body, err)
	}
	return body.Incident
}
