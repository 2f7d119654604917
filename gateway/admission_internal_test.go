package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A page must be of the same scheme and host, however a proxy writes the host.
func TestOrigin(t *testing.T) {
	b := newBench(t, Options{})
	secure := httptest.NewTLSServer(b.gateway)
	defer secure.Close()
	for _, c := range []struct {
		url, host, origin, site string
		own                     bool
	}{
		{b.url, "Kapi.Example:80", "http://kapi.example", "", true},
		{secure.URL, "Kapi.Example:443", "https://kapi.example", "", true},
		{secure.URL, "kapi.example:8443", "https://kapi.example:8443", "same-origin", true},
		{b.url, "kapi.example", "https://kapi.example", "same-origin", true}, // a proxy ends TLS, and is not trusted
		{b.url, "kapi.example", "https://kapi.example", "", false},
		{secure.URL, "kapi.example", "http://kapi.example", "", false},
		{secure.URL, "kapi.example:80", "http://kapi.example", "", false},
		{secure.URL, "kapi.example", "http://kapi.example", "cross-site", false},
		{secure.URL, "kapi.example", "https://kapi.example", "same-site", false},
		{b.url, "kapi.example", "http://evil.example", "", false},
		{b.url, "kapi.example", "null", "", false},
	} {
		header := http.Header{"Cookie": {"sess=a.d.min"}, "Origin": {c.origin}}
		if c.site != "" {
			header.Set("Sec-Fetch-Site", c.site)
		}
		conn, resp, err := websocket.Dial(t.Context(), c.url+"?v=4", &websocket.DialOptions{
			HTTPClient: secure.Client(), Host: c.host, HTTPHeader: header,
		})
		if (err == nil) != c.own || !c.own && (resp == nil || resp.StatusCode != http.StatusForbidden) {
			t.Errorf("%+v: %v, %v", c, resp, err)
		}
		if conn != nil {
			_ = conn.CloseNow()
		}
	}
}

// A request that can't become a connection is refused in JSON, and its connection is not taken over.
func TestNoConnection(t *testing.T) {
	b := newBench(t, Options{})
	for query, encoding := range map[string]string{
		"?v=4&encoding=etf": "etf", "?encoding=etf": "etf", "?v=4&encoding=JSON": "JSON", "?v=4&encoding=": "", "?v=4&encoding=json&encoding=etf": "etf",
	} {
		_, resp, err := websocket.Dial(t.Context(), b.url+query, nil)
		if err == nil || resp == nil {
			t.Fatalf("%s: %v, %v", query, resp, err)
		}
		body, _ := io.ReadAll(resp.Body)
		if want := fmt.Sprintf(`{"code":50003,"message":"Bad query: encoding must be json, not \"%[1]s\"","field":"encoding","reason":"must be json, not \"%[1]s\""}`, encoding); resp.StatusCode != 400 || strings.TrimSpace(string(body)) != want {
			t.Errorf("%s: %s %s, want %s", query, resp.Status, body, want)
		}
	}
	b.dialWith("?v=4", nil).next(3, "") // json is what is meant
	r := httptest.NewRequest("GET", "/gateway?v=4", nil)
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"MDEyMzQ1Njc4OWFiY2RlZg=="}}
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	w := httptest.NewRecorder()
	if b.gateway.ServeHTTP(w, r); w.Code != 400 || !strings.Contains(w.Body.String(), `{"code":0,"message":"A connection to the gateway begins with HTTP/1.1"}`) {
		t.Errorf("HTTP/2: %d %s", w.Code, w.Body)
	}
}
