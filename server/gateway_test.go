package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/server"
)

func TestGatewayURL(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, tt := range map[string]struct {
		target, remote, proto, host, want string
	}{
		"plain":               {"http://kapi.example:4080/v4/gateway", "192.0.2.1:1", "", "", "ws://kapi.example:4080/gateway"},
		"no version":          {"http://kapi.example/gateway", "192.0.2.1:1", "", "", "ws://kapi.example/gateway"},
		"TLS":                 {"https://kapi.example/v4/gateway", "192.0.2.1:1", "", "", "wss://kapi.example/gateway"},
		"behind a proxy":      {"http://kapi.example/v4/gateway?x=y", "10.1.2.3:1", "https", "", "wss://kapi.example/gateway"},
		"anybody says so":     {"http://kapi.example/v4/gateway", "192.0.2.1:1", "https", "", "ws://kapi.example/gateway"},
		"a proxy says http":   {"http://kapi.example/v4/gateway", "10.1.2.3:1", "http", "", "ws://kapi.example/gateway"},
		"a default port":      {"http://kapi.example:443/v4/gateway", "10.1.2.3:1", "https", "", "wss://kapi.example/gateway"},
		"of another scheme":   {"http://kapi.example:443/v4/gateway", "10.1.2.3:1", "http", "", "ws://kapi.example:443/gateway"},
		"an address":          {"https://[::1]:443/v4/gateway", "192.0.2.1:1", "", "", "wss://[::1]/gateway"},
		"capitals":            {"https://Kapi.Example/v4/gateway", "192.0.2.1:1", "", "", "wss://Kapi.Example/gateway"},
		"a proxy's host":      {"http://10.1.2.4:4080/v4/gateway", "10.1.2.3:1", "https", "kapi.example", "wss://kapi.example/gateway"},
		"the last host":       {"http://10.1.2.4:4080/v4/gateway", "10.1.2.3:1", "https", "evil.example, kapi.example:8443", "wss://kapi.example:8443/gateway"},
		"no host":             {"http://kapi.example/v4/gateway", "10.1.2.3:1", "https", "evil.example/x", "wss://kapi.example/gateway"},
		"anybody names hosts": {"http://kapi.example/v4/gateway", "192.0.2.1:1", "", "evil.example", "ws://kapi.example/gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFixture(t, server.Options{TrustedProxies: proxies})
			r := httptest.NewRequest("GET", tt.target, nil)
			r.RemoteAddr = tt.remote
			if tt.proto != "" {
				r.Header.Set("X-Forwarded-Proto", tt.proto)
			}
			if tt.host != "" {
				r.Header.Set("X-Forwarded-Host", tt.host)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if want := `{"url":"` + tt.want + `"}`; w.Code != 200 || w.Body.String() != want+"\n" && w.Body.String() != want {
				t.Errorf("%d %s, want %s", w.Code, w.Body, want)
			}
		})
	}
}

func TestBehindProxy(t *testing.T) {
	var seen string
	s := newFixture(t, server.Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Authenticate: func(r *http.Request) (auth.Identity, error) {
			seen = r.RemoteAddr
			return auth.Identity{}, auth.ErrNoToken
		},
	})
	for name, tt := range map[string]struct {
		remote string
		hops   []string
		want   string
	}{
		"direct":              {"192.0.2.1:99", []string{"198.51.100.7"}, "192.0.2.1:99"},
		"one proxy":           {"10.0.0.1:99", []string{"198.51.100.7"}, "198.51.100.7"},
		"two proxies":         {"10.0.0.1:99", []string{"198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		"forged before":       {"10.0.0.1:99", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		"two headers":         {"10.0.0.1:99", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7"},
		"IPv6":                {"[::1]:99", []string{"2001:db8::7"}, "2001:db8::7"},
		"with a port":         {"10.0.0.1:99", []string{"198.51.100.7:1234"}, "198.51.100.7:1234"},
		"nothing":             {"10.0.0.1:99", nil, "10.0.0.1:99"},
		"garbage":             {"10.0.0.1:99", []string{"198.51.100.7, unknown"}, "10.0.0.1:99"},
		"nothing but proxies": {"10.0.0.1:99", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/v4/kapi/actions", nil)
			r.RemoteAddr = tt.remote
			for _, h := range tt.hops {
				r.Header.Add("X-Forwarded-For", h)
			}
			if s.ServeHTTP(httptest.NewRecorder(), r); seen != tt.want {
				t.Errorf("%s, want %s", seen, tt.want)
			}
		})
	}
}

// A page of this host may use REST and the gateway, however the proxy in between writes the host. A
// page of another host may use neither.
func TestSameOriginBehindProxy(t *testing.T) {
	f := newFixture(t, server.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	web := httptest.NewServer(f)
	defer web.Close()
	defer func() {
		if err := f.Handler.(*documented).Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		host, forwarded, origin string
		same                    bool
	}{
		{"kapi.example", "", "https://kapi.example", true},
		{"kapi.example:443", "", "https://kapi.example", true},
		{"Kapi.Example", "", "https://kapi.example", true},
		{"kapi.example.", "", "https://kapi.example", true},
		{"[::1]:443", "", "https://[::1]", true},
		{"127.0.0.1:4080", "kapi.example", "https://kapi.example", true},
		{"kapi.example", "evil.example", "https://kapi.example", false},
		{"kapi.example:8443", "", "https://kapi.example", false},
		{"kapi.example", "", "https://evil.example", false},
		{"kapi.example", "", "null", false},
	} {
		header := http.Header{"Origin": {c.origin}, "X-Forwarded-Proto": {"https"}, "Cookie": {"sess=admin"}}
		if c.forwarded != "" {
			header.Set("X-Forwarded-Host", c.forwarded)
		}
		r, err := http.NewRequest("POST", web.URL+"/v4/kapi/actions", strings.NewReader(`{"title":"t"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header, r.Host = header.Clone(), c.host
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if (resp.StatusCode == 201) != c.same || !c.same && resp.StatusCode != 403 {
			t.Errorf("%+v: the start answers %s", c, resp.Status)
		}
		conn, resp, err := websocket.Dial(t.Context(), web.URL+"/gateway?v=4", &websocket.DialOptions{Host: c.host, HTTPHeader: header})
		if (err == nil) != c.same || !c.same && (resp == nil || resp.StatusCode != 403) {
			t.Errorf("%+v: the gateway answers %v", c, err)
		}
		if conn != nil {
			_ = conn.CloseNow()
		}
	}
}

// The gateway is reached through the server, under any prefix, at the address that is told.
func TestGatewayIsMounted(t *testing.T) {
	f := newFixture(t, server.Options{})
	web := httptest.NewServer(http.StripPrefix("/deep/down", f))
	defer web.Close()
	resp, err := http.Get(web.URL + "/deep/down/v4/gateway")
	if err != nil {
		t.Fatal(err)
	}
	var found struct{ URL string }
	decode(t, resp, &found)
	if want := "ws" + strings.TrimPrefix(web.URL, "http") + "/deep/down/gateway"; found.URL != want {
		t.Fatalf("found %s, want %s", found.URL, want)
	}
	conn, _, err := websocket.Dial(t.Context(), found.URL+"?v=4&encoding=json", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if _, hello, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(hello), `"op":3`) {
		t.Errorf("the gateway says %s, %v", hello, err)
	}
	go f.Handler.(*documented).Close(context.WithoutCancel(t.Context()))
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != 4010 {
		t.Errorf("closed with %v", err)
	}
}

func decode(t *testing.T, resp *http.Response, v any) {
	t.Helper()
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
}
