package server_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
)

// limited returns a server over a peer that is never asked: rate limits need no route,
// and a store of real files has no place in a bubble of fake time.
func limited(o server.Options) http.Handler {
	if o.Authenticate == nil {
		o.Authenticate = byName
	}
	o.Logger = slog.New(slog.DiscardHandler)
	return server.New(new(peer.Peer), o)
}

func nothing(name string) *http.Request {
	if name == "" {
		return request("GET", "/nothing", "")
	}
	return request("GET", "/nothing", "", "Authorization: Bearer "+name)
}

func expectLimit(t *testing.T, w *httptest.ResponseRecorder, limit, remaining int, reset time.Time, after, bucket string) {
	t.Helper()
	for name, want := range map[string]string{
		"X-RateLimit-Limit":       strconv.Itoa(limit),
		"X-RateLimit-Remaining":   strconv.Itoa(remaining),
		"X-RateLimit-Reset":       strconv.FormatInt(reset.Unix(), 10),
		"X-RateLimit-Reset-After": after,
		"X-RateLimit-Bucket":      bucket,
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := limited(server.Options{})
		start := time.Now()
		expectLimit(t, send(h, nothing("admin")), 200, 199, start.Add(time.Second), "0.01", "identity")
		for range 198 {
			send(h, nothing("admin"))
		}
		w := send(h, nothing("admin"))
		expectLimit(t, w, 200, 0, start.Add(2*time.Second), "2", "identity")
		golden(t, "noroute.json", w)

		w = send(h, nothing("admin"))
		expectLimit(t, w, 200, 0, start.Add(2*time.Second), "2", "identity")
		expect(t, w, 429, `{"message":"You are being rate limited","retry_after":0.01,"global":true}`)
		if got := w.Header().Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After %q", got)
		}
		// No other client is charged for it, from the same address or not.
		for _, name := range []string{"owner", "plain", "", "wrong"} {
			if w := send(h, nothing(name)); w.Code != 404 {
				t.Errorf("%q: %d", name, w.Code)
			}
		}
		time.Sleep(500 * time.Millisecond)
		expectLimit(t, send(h, nothing("admin")), 200, 49, start.Add(3*time.Second), "1.51", "identity")
		time.Sleep(time.Hour)
		expectLimit(t, send(h, nothing("admin")), 200, 199, time.Now().Add(time.Second), "0.01", "identity")
	})
}

func TestRateLimitAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := limited(server.Options{})
		from := func(address, name string) *httptest.ResponseRecorder {
			r := nothing(name)
			r.RemoteAddr = address
			return send(h, r)
		}
		use := func(address string) {
			t.Helper()
			for i := range 20 {
				if w := from(address, []string{"", "wrong", "expired", "outage"}[i%4]); w.Code != 404 {
					t.Fatalf("%s, request %d: %d", address, i, w.Code)
				}
			}
		}
		use("192.0.2.1:1000")
		w := from("192.0.2.1:2000", "")
		expectLimit(t, w, 20, 0, time.Now().Add(time.Second), "1", "address")
		expect(t, w, 429, `{"message":"You are being rate limited","retry_after":0.05,"global":true}`)
		if w := from("[::ffff:192.0.2.1]:1", ""); w.Code != 429 {
			t.Errorf("the same address as IPv6: %d", w.Code)
		}
		use("192.0.2.2:1000")

		use("[2001:db8:1:2::1]:1000")
		for address, want := range map[string]int{
			"[2001:db8:1:2:ffff::7]:1": 429, "[2001:db8:1:3::1]:1": 404, "2001:db8:1:2::9": 429,
			"[fe80::1%eth0]:1": 404, "192.0.2.1": 429, "@": 404, "": 404,
		} {
			if w := from(address, ""); w.Code != want {
				t.Errorf("%q: %d, want %d", address, w.Code, want)
			}
		}
		time.Sleep(50 * time.Millisecond)
		if w := from("192.0.2.1:1", ""); w.Code != 404 {
			t.Errorf("after as long as it was told: %d", w.Code)
		}
	})
}

// A client that waits for retry_after is let in, but not one that waits much less.
func TestRetryAfterIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, perSecond := range []float64{0.1, 1, 3, 7, 20, 33.3, 100, 999} {
			h := limited(server.Options{RateLimit: perSecond, RateBurst: 1, RateLimitAddress: perSecond})
			for _, name := range []string{"admin", ""} {
				for range 20 {
					w := send(h, nothing(name))
					for w.Code != 429 {
						w = send(h, nothing(name))
					}
					var body struct {
						RetryAfter float64 `json:"retry_after"`
					}
					if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
						t.Fatal(err)
					}
					if max := 1/perSecond + 0.001; body.RetryAfter <= 0 || body.RetryAfter > max {
						t.Fatalf("%v/s: retry after %v", perSecond, body.RetryAfter)
					}
					time.Sleep(time.Duration(body.RetryAfter * float64(time.Second)))
					if w := send(h, nothing(name)); w.Code != 404 {
						t.Fatalf("%v/s, %q: %d after %v s", perSecond, name, w.Code, body.RetryAfter)
					}
					time.Sleep(137 * time.Microsecond)
				}
			}
		}
	})
}

// Probes, the page's files and the gateway's address are neither charged nor refused, because their
// clients can't authenticate yet. They have the headers of the address's limit.
func TestProbesCountForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := limited(server.Options{})
		for range 7 {
			send(h, nothing("wrong"))
		}
		for range 1000 {
			for _, path := range []string{"/healthz", "/v4/gateway", "/"} {
				w := send(h, request("GET", path, ""))
				expectLimit(t, w, 20, 13, time.Now().Add(time.Second), "0.35", "address")
				if w.Code != 200 {
					t.Fatalf("%s: %d", path, w.Code)
				}
			}
		}
	})
}

func TestRateOptions(t *testing.T) {
	for _, c := range []struct {
		o               server.Options
		identity, other string
	}{
		{server.Options{}, "200", "20"},
		{server.Options{RateLimit: 5}, "10", "20"},
		{server.Options{RateLimit: 0.2}, "1", "20"},
		{server.Options{RateBurst: 7}, "7", "20"},
		{server.Options{RateLimit: 5, RateBurst: 3, RateLimitAddress: 2.5}, "3", "3"},
		{server.Options{RateLimitAddress: 0.1}, "200", "1"},
		{server.Options{RateLimit: -1}, "", "20"},
		{server.Options{RateLimit: -1, RateBurst: 5}, "", "20"},
		{server.Options{RateLimitAddress: -1}, "200", ""},
		{server.Options{RateBurst: -1}, "", "20"},
		{server.Options{RateLimit: -1, RateLimitAddress: -1}, "", ""},
	} {
		h := limited(c.o)
		for range 2 {
			for _, n := range [][2]string{{"admin", c.identity}, {"", c.other}} {
				if got := send(h, nothing(n[0])).Header().Get("X-RateLimit-Limit"); got != n[1] {
					t.Errorf("%+v, %q: limit %q, want %q", c.o, n[0], got, n[1])
				}
			}
			if got := send(h, request("GET", "/healthz", "")).Header().Get("X-RateLimit-Limit"); got != c.other {
				t.Errorf("%+v, probe: limit %q, want %q", c.o, got, c.other)
			}
		}
		if c.identity == "" && c.other == "" {
			for range 1000 {
				if w := send(h, nothing("")); w.Code != 404 {
					t.Fatalf("no limit, and yet %d", w.Code)
				}
			}
		}
	}
}

func TestMaxBody(t *testing.T) {
	long := `{"title":"t"` + strings.Repeat(" ", 64<<10) + `}`
	for maximum, want := range map[int64]int{0: 413, -1: 201, 100_000: 201} {
		f := newFixture(t, server.Options{MaxBody: maximum})
		if w := f.send("POST", "/v4/kapi/actions", long, "Authorization: Bearer admin", "Content-Type: application/json"); w.Code != want {
			t.Errorf("%d: got %d %s, want %d", maximum, w.Code, w.Body, want)
		}
	}
}

func TestLimitsAreOnEveryResponse(t *testing.T) {
	f := newFixture(t, server.Options{})
	a := f.start("reshard")
	for _, target := range []string{"/kapi/actions", "/kapi/actions/" + a.ID, "/kapi/actions/x", "/kapi/actions?q", "/x", "//", "/healthz", "/readyz"} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			for _, name := range []string{"admin", "plain", "outage", "panic"} {
				w := f.as(name, method, target)
				for _, header := range []string{"Limit", "Remaining", "Reset", "Reset-After", "Bucket"} {
					if w.Header().Get("X-RateLimit-"+header) == "" {
						t.Errorf("%s %s as %s: %d without X-RateLimit-%s", method, target, name, w.Code, header)
					}
				}
			}
		}
	}
}
