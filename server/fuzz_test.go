package server_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

// FuzzRequest throws requests at a server that has no actions: nothing but a probe or an
// admin's list is ever a success, and every refusal is one that clients understand.
func FuzzRequest(f *testing.F) {
	store, err := sqlite.OpenMemory()
	if err != nil {
		f.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	k, err := peer.Open(f.Context(), store, peer.Options{Logger: quiet})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { k.Close() })
	h := server.New(k, server.Options{Authenticate: byName, Logger: quiet, RateLimit: -1, RateLimitAddress: -1, MaxBody: 256})

	f.Add("GET", "/v4/kapi/actions", "", "Bearer admin", "", `"x"`, "", "")
	f.Add("GET", "/v4/kapi/actions", "", "", "sess=admin", `*`, "", "")
	f.Add("GET", "/kapi/actions/", "a=b", "Bearer plain", "sess=admin", "", "", "")
	f.Add("POST", "/kapi/actions/x/dismiss", "%zz", "Bot admin", "", "", "application/json", "{}")
	f.Add("POST", "/v4/kapi/actions/a%2Fb/cancel", "", "Basic admin", "", "", "text/plain", "x")
	f.Add("HEAD", "//healthz/../x", "", "", "", "", "", "")
	f.Add("CONNECT", "", "", "", "", "", "", "")
	f.Add("OPTIONS", "*", "", "", "", "", "", "")
	f.Fuzz(func(t *testing.T, method, path, query, authorization, cookie, match, contentType, body string) {
		if strings.Contains(authorization+cookie, "panic") || strings.Contains(authorization+cookie, "abort") {
			return // byName would
		}
		r := &http.Request{
			Method: method, URL: &url.URL{Path: path, RawQuery: query}, Host: "example.com", RemoteAddr: "192.0.2.1:1",
			Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1,
		}
		for name, value := range map[string]string{
			"Authorization": authorization, "Cookie": cookie, "If-None-Match": match, "Content-Type": contentType,
		} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		check(t, r, send(h, r))
	})
}

func check(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	switch {
	case w.Code == 200 && (r.URL.Path == "/healthz" || r.URL.Path == "/readyz"):
	case w.Code == 200 || w.Code == 304:
		if who, err := byName(r); err != nil || who.Permissions == 0 || !strings.HasSuffix(r.URL.Path, "/kapi/actions") || r.URL.RawQuery != "" {
			t.Errorf("%s %q: %d for %+v, %v", r.Method, r.URL, w.Code, who, err)
		}
	case w.Code == 503: // byName's outage
		if !strings.Contains(w.Body.String(), `"report"`) {
			t.Errorf("%s %q: %d %s", r.Method, r.URL, w.Code, w.Body)
		}
	case w.Code >= 400 && w.Code < 500:
		var body struct {
			Code    *int
			Message string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Code == nil || body.Message == "" {
			t.Errorf("%s %q: %d %s (%v)", r.Method, r.URL, w.Code, w.Body, err)
		} else if who, err := byName(r); *body.Code == 10015 && (err != nil || who.Permissions == 0) {
			t.Errorf("%s %q: %+v was told that there is no such action", r.Method, r.URL, who)
		}
	default:
		t.Errorf("%s %q: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
}
