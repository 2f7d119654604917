package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/server"
)

// credentials are all kinds of them, as byName knows them.
var credentials = []string{"", "wrong", "expired", "plain", "metrics", "run", "admin", "owner", "kettu"}

// TestWhoMayDoWhat has every route tried by every kind of credential. Who may not is told the same whether
// there is such an action or not, and learns nothing of it.
func TestWhoMayDoWhat(t *testing.T) {
	const admins = "403" // for who is no admin
	for _, tt := range []struct {
		request string
		// The status for no token, a wrong and an expired one, one without permissions, with READ_METRICS, with
		// RUN_ACTIONS, and for admins of all three kinds.
		none, wrong, expired, plain, metrics, run, admin string
	}{
		{"GET /v4/kapi/actions", "401", "401", "401", "403", "403", "200", "200"},
		{"POST /v4/kapi/actions", "401", "401", "401", "403", "403", "201", "201"},
		{"GET /v4/kapi/actions/{another's}", "401", "401", "401", "403", "403", "404", "200"},
		{"GET /v4/kapi/actions/{none}", "401", "401", "401", "403", "403", "404", "404"},
		{"PATCH /v4/kapi/actions/{another's}", "401", "401", "401", "403", "403", "404", "200"},
		{"PATCH /v4/kapi/actions/{none}", "401", "401", "401", "403", "403", "404", "404"},
		{"POST /v4/kapi/actions/{another's}/cancel", "401", "401", "401", "403", "403", "404", "202"},
		{"POST /v4/kapi/actions/{none}/cancel", "401", "401", "401", "403", "403", "404", "404"},
		{"POST /v4/kapi/actions/{failed}/dismiss", "401", "401", "401", "403", "403", "403", "204"},
		{"POST /v4/kapi/actions/{none}/dismiss", "401", "401", "401", "403", "403", "403", "404"},
		{"GET /metrics", "401", "401", "401", "403", "200", "403", "200"},
		{"GET /v4/gateway", "200", "200", "200", "200", "200", "200", "200"},
		{"GET /healthz", "200", "200", "200", "200", "200", "200", "200"},
		{"GET /v4/nothing", "404", "404", "404", "404", "404", "404", "404"},
		{"DELETE /v4/kapi/actions", "405", "405", "405", "405", "405", "405", "405"},
	} {
		row := map[string]string{"": tt.none, "wrong": tt.wrong, "expired": tt.expired, "plain": tt.plain, "metrics": tt.metrics, "run": tt.run}
		for _, who := range credentials {
			status, ok := row[who]
			if !ok {
				status = tt.admin
			}
			t.Run(fmt.Sprintf("%s as %q", tt.request, who), func(t *testing.T) {
				f := newFixture(t, server.Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "kapi_starts_total 0\n") })})
				w := f.try(tt.request, who)
				if got := fmt.Sprint(w.Code); got != status {
					t.Errorf("%s %s, want %s", got, w.Body, status)
				}
				if status != "401" && status != admins && status != "404" {
					return
				}
				if strings.Contains(w.Body.String(), "secret") {
					t.Errorf("who may not know learns of another's action: %s", w.Body)
				}
			})
		}
	}
}

// try sends a request of the table, as somebody.
func (f *fixture) try(request, who string) *httptest.ResponseRecorder {
	f.t.Helper()
	another := f.begin(`{"title":"secret title","keys":["secret"]}`)
	failed := f.begin(`{"title":"secret failure"}`)
	expectStatus(f.t, f.patch(failed.Action.ID, fmt.Sprintf(`{"fence":%d,"status":3}`, failed.Fence)), 200)
	method, target, _ := strings.Cut(request, " ")
	target = strings.NewReplacer("{another's}", another.Action.ID, "{failed}", failed.Action.ID, "{none}", "nosuchaction").Replace(target)
	body, header := "", []string(nil)
	switch {
	case method == "PATCH":
		body, header = fmt.Sprintf(`{"fence":%d}`, another.Fence), []string{jsonBody}
	case method == "POST" && strings.HasSuffix(target, "/actions"):
		body, header = `{"title":"mine"}`, []string{jsonBody}
	}
	if who != "" {
		header = append(header, "Authorization: Bearer "+who)
	}
	return f.send(method, target, body, header...)
}

// TestOwnActions: a runner's token does what a runner does, with the actions that it started, and finds no
// others.
func TestOwnActions(t *testing.T) {
	f := newFixture(t, server.Options{})
	another := f.begin(`{"title":"another's","description":"secret","keys":["taken","deploy"]}`)
	f.patch(another.Action.ID, fmt.Sprintf(`{"fence":%d,"state":"secret","progress":0.5}`, another.Fence))
	start := func(who, body string) *httptest.ResponseRecorder {
		return f.send("POST", "/v4/kapi/actions", body, "Authorization: Bearer "+who, jsonBody)
	}
	var own kapi.Remote
	if err := json.Unmarshal(start("run", `{"title":"mine","keys":["mine"]}`).Body.Bytes(), &own); err != nil {
		t.Fatal(err)
	}
	path := "/v4/kapi/actions/" + own.Action.ID
	report := func(who, fields string) *httptest.ResponseRecorder {
		return f.send("PATCH", path, fmt.Sprintf(`{"fence":%d%s}`, own.Fence, fields), "Authorization: Bearer "+who, jsonBody)
	}
	titles := func(who string) (titles []string) {
		var all []kapi.Action
		if err := json.Unmarshal(f.as(who, "GET", "/v4/kapi/actions").Body.Bytes(), &all); err != nil || all == nil {
			t.Fatalf("the list of %s: %v, %v", who, all, err)
		}
		for _, a := range all {
			titles = append(titles, a.Title)
		}
		return titles
	}
	for who, want := range map[string][]string{"run": {"mine"}, "another-run": nil, "admin": {"another's", "mine"}} {
		if got := titles(who); !slices.Equal(got, want) {
			t.Errorf("%s is told of %q, want %q", who, got, want)
		}
	}
	expectStatus(t, f.as("run", "GET", path), 200)
	expectStatus(t, report("run", `,"progress":0.5`), 200)
	for _, w := range []*httptest.ResponseRecorder{
		f.as("another-run", "GET", path), report("another-run", `,"progress":0.6`), f.as("another-run", "POST", path+"/cancel"),
	} {
		want(t, w, 404, 10015, "")
	}

	// What a refusal says of another's action, and of one's own.
	var told struct{ Action map[string]any }
	w := start("run", `{"title":"t","keys":["taken"]}`)
	want(t, w, 409, 20001, "held by action "+another.Action.ID)
	if err := json.Unmarshal(w.Body.Bytes(), &told); err != nil || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%s (%v)", w.Body, err)
	}
	runner, _ := told.Action["runner"].(map[string]any)
	if got := keysOf(told.Action); !reflect.DeepEqual(got, []string{"id", "keys", "runner", "status", "title"}) ||
		!reflect.DeepEqual(keysOf(runner), []string{"heard_at", "host"}) || runner["heard_at"].(float64) < 1 {
		t.Errorf("of another's it says %v", told.Action)
	}
	if w := start("run", `{"title":"t","keys":["mine"]}`); !strings.Contains(w.Body.String(), `"created_at"`) {
		t.Errorf("of one's own it says %s", w.Body)
	}

	expectStatus(t, f.as("run", "POST", path+"/cancel"), 202)
	expectStatus(t, report("run", `,"status":3,"state":"stopped"`), 200)
	want(t, f.as("run", "POST", path+"/dismiss"), 403, 50002, "")
	expectStatus(t, f.as("admin", "POST", path+"/dismiss"), 204)
	expectStatus(t, report("run", `,"status":3`), 200) // said again
	want(t, report("another-run", `,"status":3`), 404, 10015, "")
}

func keysOf(m map[string]any) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// TestGatewayIsForAdmins: a runner's token and that of who reads metrics bring nothing there.
func TestGatewayIsForAdmins(t *testing.T) {
	f := newFixture(t, server.Options{})
	web := httptest.NewServer(f)
	t.Cleanup(func() {
		_ = f.Handler.(*documented).Close(context.WithoutCancel(t.Context()))
		web.Close()
	})
	for who, want := range map[string]int{
		"wrong": 4004, "expired": 4004, "plain": 4014, "metrics": 4014, "run": 4014, "admin": 0, "owner": 0, "kettu": 0,
	} {
		conn, _, err := websocket.Dial(t.Context(), strings.Replace(web.URL, "http", "ws", 1)+"/gateway?v=4", nil)
		if err != nil {
			t.Fatal(err)
		}
		identify := fmt.Sprintf(`{"op":4,"d":{"token":%q,"intents":64,"properties":""}}`, who)
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(identify)); err != nil {
			t.Fatal(err)
		}
		var said string
		for err == nil && !strings.Contains(said, `"READY"`) {
			var data []byte
			_, data, err = conn.Read(t.Context())
			said = string(data)
		}
		if got := max(int(websocket.CloseStatus(err)), 0); got != want {
			t.Errorf("%s: closed with %d (%v), want %d", who, got, err, want)
		}
		_ = conn.CloseNow()
	}
}
