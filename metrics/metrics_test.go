package metrics_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/gateway"
	"github.com/kettubot/kapi/metrics"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
	"github.com/kettubot/kapi/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newPeer(t *testing.T) *peer.Peer {
	t.Helper()
	store, err := sqlite.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	k, err := peer.Open(t.Context(), store, peer.Options{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := k.Follow(t.Context()); err != nil { // what was before the first scrape counts, too
		t.Fatal(err)
	}
	return k
}

// busy returns a peer that has done one of everything.
func busy(t *testing.T) *peer.Peer {
	t.Helper()
	k := newPeer(t)
	do := func(op kapi.Operation, keys ...string) {
		_ = k.Do(t.Context(), kapi.Spec{Title: "a secret", Keys: keys}, op)
	}
	fails := func(context.Context, kapi.Handle) error { return errors.New("boom") }
	do(func(context.Context, kapi.Handle) error { return nil })
	do(fails, "k", "other", `wéird"\`)
	do(fails, "k")
	do(fails, "k")
	do(fails, "other")
	do(fails, `wéird"\`)
	return k
}

// scrape returns the response and its values by series.
func scrape(t *testing.T, k *peer.Peer, counters *gateway.Counters) (string, map[string]string) {
	t.Helper()
	w := httptest.NewRecorder()
	connections := metrics.Connections(server.LimitConnections(server.ConnectionLimits{}))
	metrics.Handler(k, counters, nil, connections).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %s", w.Code, w.Header())
	}
	values := map[string]string{}
	for line := range strings.Lines(w.Body.String()) {
		if !strings.HasPrefix(line, "#") {
			at := strings.LastIndex(line, " ")
			values[line[:at]] = strings.TrimSpace(line[at:])
		}
	}
	return w.Body.String(), values
}

func TestValues(t *testing.T) {
	text, values := scrape(t, busy(t), new(gateway.Counters))
	for series, want := range map[string]string{
		`kapi_actions{status="pending"}`:                                    "0",
		`kapi_actions{status="running"}`:                                    "0",
		`kapi_actions{status="impacted"}`:                                   "0",
		`kapi_actions{status="failed"}`:                                     "1",
		`kapi_starts_total`:                                                 "2",
		`kapi_seen_starts_total`:                                            "2",
		`kapi_ends_total{status="completed"}`:                               "1",
		`kapi_ends_total{status="failed"}`:                                  "1",
		`kapi_ends_total{status="aborted"}`:                                 "0",
		`kapi_seen_ends_total{status="failed"}`:                             "1",
		`kapi_refusals_total{key="k"}`:                                      "2",
		`kapi_refusals_total{key="other"}`:                                  "1",
		`kapi_refusals_total{key="wéird\"\\"}`:                              "1",
		`kapi_commit_batches_total{outcome="written"}`:                      "4",
		`kapi_commit_batches_total{outcome="empty"}`:                        "4",
		`kapi_commit_batches_total{outcome="failed"}`:                       "0",
		`kapi_commit_batch_changes_bucket{le="1"}`:                          "4",
		`kapi_commit_batch_changes_bucket{le="256"}`:                        "4",
		`kapi_commit_batch_changes_bucket{le="+Inf"}`:                       "4",
		`kapi_commit_batch_changes_count`:                                   "4",
		`kapi_commit_batch_changes_sum`:                                     "4",
		`kapi_commit_duration_seconds_count`:                                "4",
		`kapi_feed_lag_seconds_count`:                                       "0",
		`kapi_feed_seq`:                                                     "4",
		`kapi_gateway_connections`:                                          "0",
		`kapi_gateway_frames_sent_total`:                                    "0",
		`kapi_gateway_coalesced_total`:                                      "0",
		`kapi_gateway_closed_total{code="none",reason="client_left"}`:       "0",
		`kapi_gateway_closed_total{code="4008",reason="too_slow"}`:          "0",
		`kapi_gateway_closed_total{code="4008",reason="too_much"}`:          "0",
		`kapi_gateway_closed_total{code="4014",reason="forbidden_intents"}`: "0",
	} {
		if got := values[series]; got != want {
			t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
	if age, err := strconv.ParseFloat(values["kapi_feed_age_seconds"], 64); err != nil || age < 0 || age > 30 {
		t.Errorf("feed_age_seconds is %v, %v", age, err)
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total"} {
		if values[name] == "" {
			t.Errorf("series %s is missing", name)
		}
	}
	build := regexp.MustCompile(`kapi_build_info\{goversion="go1\.[^"]+",version="[^"]+"\} 1\n`)
	if !build.MatchString(text) || strings.Contains(text, "secret") {
		t.Error(text)
	}
}

// A server's connection counts are included if they are added.
func TestConnections(t *testing.T) {
	limits := server.LimitConnections(server.ConnectionLimits{MaxConnections: 2, MaxConnectionsAddress: 1, Logger: slog.New(slog.DiscardHandler)})
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := limits.Listener(plain)
	for range 3 {
		theirs, err := net.Dial("tcp", plain.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		ours, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
	}
	if err := plain.Close(); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	metrics.Handler(newPeer(t), nil, nil, metrics.Connections(limits)).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	for _, want := range []string{
		`kapi_connections{client="signed_in"} 0`, `kapi_connections{client="stranger"} 1`,
		"kapi_connections_closed_total 2", "kapi_accept_failures_total 0",
	} {
		if !strings.Contains(w.Body.String(), "\n"+want+"\n") {
			t.Errorf("missing %s in\n%s", want, w.Body)
		}
	}
}

func TestLint(t *testing.T) {
	text, _ := scrape(t, busy(t), new(gateway.Counters))
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// The table in docs/metrics.md matches the metrics: names, types and labels.
func TestDocumented(t *testing.T) {
	text, values := scrape(t, busy(t), new(gateway.Counters))
	exposed := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (kapi_\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		exposed[m[1]] = m[2]
		for series := range values {
			if labels, ok := strings.CutPrefix(series, m[1]+"{"); ok {
				exposed[m[1]] = describe(m[2], labels, `(\w+)="`)
			}
		}
	}
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(kapi_\\w+)` \\| (\\w+) \\| ([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		documented[m[1]] = describe(m[2], m[3], "`(\\w+)`")
	}
	if !maps.Equal(exposed, documented) {
		t.Errorf("exposed:    %v\ndocumented: %v", exposed, documented)
	}
}

// describe returns a type and its labels, which pattern finds in text.
func describe(kind, text, pattern string) string {
	words := []string{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		words = append(words, m[1])
	}
	slices.Sort(words)
	return strings.Join(append([]string{kind}, words...), " ")
}

// A program's own registry can include kapi, without a gateway and more than once.
func TestCollector(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"a", "b"} {
		with := prometheus.WrapRegistererWith(prometheus.Labels{"store": name}, registry)
		if err := with.Register(metrics.Collector(newPeer(t), nil)); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.Contains(f.GetName(), "gateway") || len(f.GetMetric()) < 2 {
			t.Errorf("%v", f)
		}
	}
	if len(families) != 13 {
		t.Errorf("got %d metric families", len(families))
	}
}

// After the peer has been closed, its metrics are still served.
func TestClosed(t *testing.T) {
	k := busy(t)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, values := scrape(t, k, nil); values["kapi_starts_total"] != "2" {
		t.Errorf("%v", values)
	}
}
