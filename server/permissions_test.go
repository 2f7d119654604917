package server_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/server"
)

// TestOwnActions: a runner's token can do what a runner does with the actions that it started, and finds no
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
	var refusal struct{ Action map[string]any }
	w := start("run", `{"title":"t","keys":["taken"]}`)
	want(t, w, 409, 20001, "held by action "+another.Action.ID)
	if err := json.Unmarshal(w.Body.Bytes(), &refusal); err != nil || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%s (%v)", w.Body, err)
	}
	runner, _ := refusal.Action["runner"].(map[string]any)
	if got := keysOf(refusal.Action); !reflect.DeepEqual(got, []string{"id", "keys", "runner", "status", "title"}) ||
		!reflect.DeepEqual(keysOf(runner), []string{"heard_at", "host"}) || runner["heard_at"].(float64) < 1 {
		t.Errorf("of another's it says %v", refusal.Action)
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
