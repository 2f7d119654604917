package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/server"
)

// A row of the matrix: a request, and the status for strangers, for tokens without permissions, with
// READ_METRICS and with RUN_ACTIONS, for admins of all kinds, and for requests of all these from a page of
// another origin, "" if that makes no difference. A status may be followed by the file that has the answer.
type row struct {
	request, body                                    string
	strangers, plain, metrics, run, admin, elsewhere string
}

// everyone is a row with the same status for everybody.
func everyone(request, body, status, elsewhere string) row {
	return row{request, body, status, status, status, status, status, elsewhere}
}

const (
	needsAdmin   = "403 needsadmin"
	needsMetrics = "403 needsmetrics"
	needsRun     = "403 needsrun"
	foreign      = "403 crossorigin"
)

// matrix has every route, those with {/v4} both with and without it, and those with GET with HEAD, too.
func matrix() []row {
	const fence = `{"fence":{fence},"state":"other"}`
	return []row{
		{"GET {/v4}/kapi/actions", "", "401", needsRun, needsRun, "200", "200", ""},
		{"POST {/v4}/kapi/actions", `{"title":"mine"}`, "401", needsRun, needsRun, "201", "201", foreign},
		{"POST {/v4}/kapi/actions", `{"title":"mine","keys":["{key}"]}`, "401", needsRun, needsRun, "409", "409", foreign},
		// To have a start dismiss is to dismiss.
		{"POST {/v4}/kapi/actions", `{"title":"mine","dismiss_failed":true}`, "401", needsRun, needsRun, needsAdmin, "201", foreign},
		{"POST {/v4}/kapi/actions", `{"title":"mine","keys":["{failed key}"],"dismiss_failed":true}`, "401", needsRun, needsRun, needsAdmin, "201", foreign},
		{"POST {/v4}/kapi/actions", `{"title":"mine","keys":["{key}"],"dismiss_failed":true}`, "401", needsRun, needsRun, needsAdmin, "409", foreign},
		{"POST {/v4}/kapi/actions", `{"title":"mine","keys":["{failed key}"],"dismiss_failed":false}`, "401", needsRun, needsRun, "409", "409", foreign},
		{"GET {/v4}/kapi/actions/{another's}", "", "401", needsRun, needsRun, "404 unknown", "200", ""},
		{"GET {/v4}/kapi/actions/nosuchaction", "", "401", needsRun, needsRun, "404 unknown", "404 unknown", ""},
		{"PATCH {/v4}/kapi/actions/{another's}", fence, "401", needsRun, needsRun, "404", "200", foreign},
		{"PATCH {/v4}/kapi/actions/{another's}", `{"fence":99}`, "401", needsRun, needsRun, "404", "409", foreign},
		{"PATCH {/v4}/kapi/actions/nosuchaction", fence, "401", needsRun, needsRun, "404", "404", foreign},
		{"POST {/v4}/kapi/actions/{another's}/cancel", "", "401", needsRun, needsRun, "404 unknown", "202", foreign},
		{"POST {/v4}/kapi/actions/{failed}/cancel", "", "401", needsRun, needsRun, "404 unknown", "409 notcancellable", foreign},
		{"POST {/v4}/kapi/actions/nosuchaction/cancel", "", "401", needsRun, needsRun, "404 unknown", "404 unknown", foreign},
		{"POST {/v4}/kapi/actions/{another's}/cancel", `{"give_up":true}`, "401", needsRun, needsRun, "404 unknown", "409", foreign},
		{"POST {/v4}/kapi/actions/{impacted}/cancel", `{"give_up":true}`, "401", needsRun, needsRun, "404 unknown", "202", foreign},
		{"POST {/v4}/kapi/actions/nosuchaction/cancel", `{"give_up":true}`, "401", needsRun, needsRun, "404 unknown", "404 unknown", foreign},
		{"POST {/v4}/kapi/actions/{failed}/dismiss", "", "401", needsAdmin, needsAdmin, needsAdmin, "204", foreign},
		{"POST {/v4}/kapi/actions/{another's}/dismiss", "", "401", needsAdmin, needsAdmin, needsAdmin, "409 notfailed", foreign},
		{"POST {/v4}/kapi/actions/nosuchaction/dismiss", "", "401", needsAdmin, needsAdmin, needsAdmin, "404 unknown", foreign},
		{"POST {/v4}/kapi/actions/{another's}/pause", "", "401", needsAdmin, needsAdmin, needsAdmin, "409", foreign},
		{"POST {/v4}/kapi/actions/nosuchaction/pause", "", "401", needsAdmin, needsAdmin, needsAdmin, "404 unknown", foreign},
		{"POST {/v4}/kapi/actions/{another's}/resume", "", "401", needsAdmin, needsAdmin, needsAdmin, "409", foreign},
		{"POST {/v4}/kapi/actions/nosuchaction/resume", "", "401", needsAdmin, needsAdmin, needsAdmin, "404 unknown", foreign},
		{"GET {/v4}/kapi/operations", "", "401", needsAdmin, needsAdmin, needsAdmin, "200", ""},
		{"POST {/v4}/kapi/operations/nosuchoperation", "{}", "401", needsAdmin, needsAdmin, needsAdmin, "404 unknownoperation", foreign},
		{"GET /metrics", "", "401", needsMetrics, "200", needsMetrics, "200", ""},
		everyone("GET {/v4}/gateway", "", "200", ""),
		everyone("GET /healthz", "", "200", ""),
		everyone("GET /readyz", "", "200", ""),
		everyone("GET /", "", "200", ""),
		everyone("GET /page/{file}", "", "200", ""),
		everyone("GET /page/nothing/nothing.js", "", "404 noroute", ""),
		everyone("GET /page/enter?code=x", "", "303", ""),
		everyone("POST /page/session", "{}", "401 notoken", foreign),
		everyone("POST /page/session", `{"token":"{wrong}"}`, "401 invalid", foreign),
		everyone("POST /page/session", `{"token":"{expired}"}`, "401 expired", foreign),
		everyone("POST /page/session", `{"token":"{plain}"}`, needsAdmin, foreign),
		everyone("POST /page/session", `{"token":"{metrics}"}`, needsAdmin, foreign),
		everyone("POST /page/session", `{"token":"{run}"}`, needsAdmin, foreign),
		everyone("POST /page/session", `{"token":"{admin}"}`, "200", foreign),
		everyone("POST /page/session", `{"code":"x"}`, "401", foreign),
		everyone("DELETE /page/session", "", "204", foreign),
		everyone("GET /page/session", "", "405 method", ""),
		everyone("GET {/v4}/nothing", "", "404 noroute", ""),
		everyone("POST {/v4}/nothing", "", "404 noroute", foreign),
		everyone("GET {/v4}/kapi/actions/", "", "404", ""),
		everyone("DELETE {/v4}/kapi/actions", "", "405 method", foreign),
		everyone("OPTIONS {/v4}/kapi/actions", "", "405 method", foreign),
		everyone("DELETE {/v4}/kapi/actions/{another's}", "", "405 method", foreign),
		everyone("GET {/v4}/kapi/actions/{another's}/cancel", "", "405 method", ""),
		everyone("GET {/v4}/kapi/actions/{failed}/dismiss", "", "405 method", ""),
		everyone("POST /metrics", "", "405 method", foreign),
		everyone("POST /", "", "405 method", foreign),
	}
}

// TestWhoMayDoWhat tries every route with every kind of credential. A client that may not use it changes
// nothing, gets the same answer whether the action exists or not, and learns nothing about it.
func TestWhoMayDoWhat(t *testing.T) {
	for _, r := range matrix() {
		requests := []string{strings.Replace(r.request, "{/v4}", "/v4", 1)}
		if strings.Contains(r.request, "{/v4}") {
			requests = append(requests, strings.Replace(r.request, "{/v4}", "", 1))
		}
		for _, request := range requests {
			t.Run(request+" "+r.body, func(t *testing.T) {
				t.Parallel()
				m := newTried(t)
				method, target, _ := strings.Cut(request, " ")
				for _, k := range m.kinds(m.tokens) {
					t.Run(k.name, func(t *testing.T) {
						m.try(t, r, k, method, target)
						if method == "GET" {
							m.try(t, r, k, "HEAD", target)
						}
					})
				}
			})
		}
	}
}

// A tried is a server with another's actions.
type tried struct {
	*door
	tokens  map[string]string
	started int
	running kapi.Remote
	// The ids of two more.
	failed, impacted string
	fill             *strings.Replacer
}

func newTried(t *testing.T) *tried {
	t.Helper()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "kapi_starts_total 0\n")
	})
	d := newDoor(t, server.Options{Metrics: metrics, Logger: slog.New(slog.DiscardHandler), RateLimit: -1, RateLimitAddress: -1})
	m := &tried{door: d, tokens: d.secrets()}
	m.restart()
	return m
}

// restart starts another's actions anew.
func (m *tried) restart() {
	m.t.Helper()
	m.started++
	key := "key" + strconv.Itoa(m.started)
	begin := func(body string) (r kapi.Remote) {
		m.t.Helper()
		w := m.send("POST", "/v4/kapi/actions", body, "Authorization: Bearer "+m.tokens["owner"], jsonBody)
		if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != 201 {
			m.t.Fatal(w.Code, w.Body, err)
		}
		return r
	}
	m.running = begin(`{"title":"covert title","description":"secret","keys":["` + key + `"]}`)
	failed := begin(`{"title":"covert failure","description":"secret","keys":["failed` + key + `"]}`)
	impacted := begin(`{"title":"covert trouble","description":"secret"}`)
	m.failed, m.impacted = failed.Action.ID, impacted.Action.ID
	for id, body := range map[string]string{
		m.running.Action.ID: fmt.Sprintf(`{"fence":%d,"state":"secret state"}`, m.running.Fence),
		m.failed:            fmt.Sprintf(`{"fence":%d,"status":3,"state":"secret error"}`, failed.Fence),
		m.impacted:          fmt.Sprintf(`{"fence":%d,"status":2,"state":"secret trouble"}`, impacted.Fence),
	} {
		w := m.send("PATCH", "/v4/kapi/actions/"+id, body, "Authorization: Bearer "+m.tokens["owner"], jsonBody)
		expectStatus(m.t, w, 200)
	}
	pairs := []string{
		"{another's}", m.running.Action.ID, "{failed}", m.failed, "{impacted}", m.impacted, "{fence}", fmt.Sprint(m.running.Fence), "{key}", key, "{failed key}", "failed" + key,
		"page/{file}", pageFiles(m.t, m.fixture)[0],
	}
	for name, secret := range m.tokens {
		pairs = append(pairs, "{"+name+"}", secret)
	}
	m.fill = strings.NewReplacer(pairs...)
}

// ask sends a request of the matrix.
func (m *tried) ask(k kind, method, target, body string) *httptest.ResponseRecorder {
	m.t.Helper()
	headers := append([]string{}, k.headers...)
	if body != "" {
		headers = append(headers, jsonBody)
	}
	return m.send(method, target, body, headers...)
}

// state is all that a request may change: sessions on the page, else actions.
func (m *tried) state(page bool) string {
	m.t.Helper()
	if page {
		return fmt.Sprint(m.rows())
	}
	listing, err := m.peer.ListJSON(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	return string(listing.JSON)
}

// want returns the status, and the file with the answer, if there is one.
func (r row) want(k kind, page bool) (status, file string) {
	want := map[string]string{"plain": r.plain, "metrics": r.metrics, "run": r.run, "admin": r.admin}[k.as]
	switch {
	case r.elsewhere != "" && k.elsewhere(page):
		want = r.elsewhere
	case k.stranger():
		want = r.strangers
	}
	status, file, _ = strings.Cut(want, " ")
	if status == "401" && !page {
		file = map[string]string{"none": "notoken", "invalid": "invalid", "expired": "expired"}[k.as]
	}
	return status, file
}

func (m *tried) try(t *testing.T, r row, k kind, method, target string) {
	t.Helper()
	page := target == "/" || strings.HasPrefix(target, "/page/")
	reads := method == "GET" || method == "HEAD"
	before, sessions := "", 0
	if !reads {
		before, sessions = m.state(page), len(m.rows())
	}
	body := m.fill.Replace(r.body)
	w := m.ask(k, method, m.fill.Replace(target), body)
	status, file := r.want(k, page)
	if got := strconv.Itoa(w.Code); got != status {
		t.Errorf("%s: %s %s, want %s", method, got, w.Body, status)
	}
	if file != "" {
		golden(t, file+".json", w)
	}
	m.learnsNothing(t, r, k, w)
	if !reads && w.Code >= 400 && m.state(page) != before {
		t.Errorf("it was refused and changed something: %s\nfrom %s", m.state(page), before)
	}
	if method == "DELETE" && w.Code == 204 && sessions-len(m.rows()) == 1 != k.session {
		t.Errorf("of %d sessions it left %d", sessions, len(m.rows()))
	}
	if strings.Contains(target, "{") && w.Code >= 400 && (k.as != "admin" || w.Code == 403) {
		none := strings.NewReplacer("{another's}", "nosuchaction", "{failed}", "nosuchaction", "{impacted}", "nosuchaction").Replace(target)
		if twin := m.ask(k, method, m.fill.Replace(none), body); !same(w, twin) {
			t.Errorf("%s: of another's it is told %d %v %s\nof none %d %v %s", method, w.Code, w.Header(), w.Body, twin.Code, twin.Header(), twin.Body)
		}
	}
	if !reads && w.Code < 400 {
		m.restart()
	}
}

// learnsNothing checks that answers to clients other than admins reveal nothing of another's action, and that
// browsers show none to pages of another origin. Clients that may start actions learn the title of a holder.
func (m *tried) learnsNothing(t *testing.T, r row, k kind, w *httptest.ResponseRecorder) {
	t.Helper()
	said := fmt.Sprint(w.Header(), w.Body)
	for name := range w.Header() {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("a page of another origin may read it: %v", w.Header())
		}
	}
	held := strings.Contains(r.body, "key}") && w.Code == 409
	if k.as == "admin" && (w.Code < 400 || held) {
		return
	}
	words := []string{"secret"}
	if !held {
		words = append(words, "covert", m.running.Action.ID, m.failed, m.impacted)
	}
	for _, word := range words {
		if strings.Contains(said, word) {
			t.Errorf("it learns of another's action (%q): %s", word, said)
		}
	}
}

// same reports whether two answers can't be distinguished.
func same(a, b *httptest.ResponseRecorder) bool {
	incident := regexp.MustCompile(`"report":"[A-Z0-9]+"`)
	plain := func(w *httptest.ResponseRecorder) []byte { return incident.ReplaceAll(w.Body.Bytes(), nil) }
	return a.Code == b.Code && fmt.Sprint(a.Header()) == fmt.Sprint(b.Header()) && bytes.Equal(plain(a), plain(b))
}
