package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kettubot/kapi/server"
)

// Metrics need authentication like everything else.
func TestMetrics(t *testing.T) {
	asked := 0
	f := newFixture(t, server.Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprint(w, "kapi_starts_total 0\n")
	})})
	for _, tt := range []struct {
		method, target, as string
		status             int
		golden             string
	}{
		{"GET", "/metrics", "", 401, "notoken"},
		{"GET", "/metrics", "wrong", 401, "invalid"},
		{"GET", "/metrics", "expired", 401, "expired"},
		{"GET", "/metrics", "plain", 403, "needsmetrics"},
		{"GET", "/metrics?limit=1", "admin", 400, "query"},
		{"POST", "/metrics", "admin", 405, "method"},
		{"GET", "/v4/metrics", "admin", 404, "noroute"},
		{"GET", "/metrics/", "admin", 404, "noroute"},
	} {
		var header []string
		if tt.as != "" {
			header = append(header, "Authorization: Bearer "+tt.as)
		}
		w := f.send(tt.method, tt.target, "", header...)
		golden(t, tt.golden+".json", w)
		if w.Code != tt.status || w.Header().Get("X-RateLimit-Limit") == "" {
			t.Errorf("%s %s as %q: %d %v", tt.method, tt.target, tt.as, w.Code, w.Header())
		}
	}
	if asked != 0 {
		t.Errorf("who may not ask was answered %d times", asked)
	}
	for _, name := range []string{"admin", "owner", "kettu"} {
		w := f.as(name, "GET", "/metrics")
		expect(t, w, 200, "kapi_starts_total 0\n")
		if w.Header().Get("X-RateLimit-Bucket") != "identity" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%v", w.Header())
		}
	}
}

// What breaks in them is answered like what breaks elsewhere.
func TestMetricsPanic(t *testing.T) {
	f := newFixture(t, server.Options{Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh no") })})
	w := f.as("admin", "GET", "/metrics")
	golden(t, "internal.json", w)
	if w.Code != 500 {
		t.Errorf("%d", w.Code)
	}
}

// Under a prefix they are there, too, and HEAD works where GET does.
func TestMetricsMounted(t *testing.T) {
	f := newFixture(t, server.Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", 9))
	})})
	s := httptest.NewServer(http.StripPrefix("/internal", f))
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL+"/internal/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer admin")
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.ContentLength != 9 {
		t.Errorf("%s, %d bytes", resp.Status, resp.ContentLength)
	}
}
