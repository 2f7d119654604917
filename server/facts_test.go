package server_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/server"
)

// facts are the fields of a body beside its code and its message.
func facts(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(w.Body, err)
	}
	delete(body, "code")
	delete(body, "message")
	return body
}

// TestFacts: what a program needs to know about a refusal has its own fields.
func TestFacts(t *testing.T) {
	f := newFixture(t, server.Options{})
	running := f.begin(`{"title":"t","keys":["k"]}`)
	report := func(r kapi.Remote, fields string) *httptest.ResponseRecorder {
		return f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d%s}`, r.Fence, fields))
	}
	pending := f.begin(`{"title":"t","status":0}`)
	queued := f.begin(`{"title":"q","keys":["k"],"wait":true}`)
	failed := f.begin(`{"title":"f"}`)
	expectStatus(t, report(failed, `,"status":3`), 200)
	givenUp := f.begin(`{"title":"g"}`)
	expectStatus(t, report(givenUp, `,"status":2`), 200)
	expectStatus(t, f.send("POST", "/v4/kapi/actions/"+givenUp.Action.ID+"/cancel", `{"give_up":true}`, adminToken, jsonBody), 202)

	type m = map[string]any
	for _, c := range []struct {
		w            *httptest.ResponseRecorder
		status, code int
		want         m
	}{
		{f.post(`{"title":""}`), 400, 50004, m{"field": "title", "reason": "must not be empty"}},
		{f.post(`{"title":"t","keys":["a b"]}`), 400, 50004, m{"field": "keys", "reason": `"a b" must not have spaces or control characters`}},
		{f.post(`{"title":"t","keys":[7]}`), 400, 50004, m{"field": "keys", "reason": "must be a list of strings"}},
		{f.post(`{"title":"t","host":null}`), 400, 50004, m{"field": "host", "reason": "must not be null"}},
		{f.post(`{"title":"t"}`, "Idempotency-Key: a", "Idempotency-Key: b"), 400, 50004, m{"field": "Idempotency-Key", "reason": "must be one, of 1 to 255 bytes"}},
		{f.post(`[]`), 400, 50004, m{}},
		{report(running, `,"status":7`), 400, 50004, m{"field": "status", "reason": "must be 1, 2, 3 or 5, not 7"}},
		{report(running, `,"progress":2`), 400, 50004, m{"field": "progress", "reason": "must be 0 to 1, not 2"}},
		{report(running, `,"exit_code":1`), 400, 50004, m{"field": "exit_code", "reason": "is allowed only with status 3 or 5"}},
		{f.as("admin", "GET", "/v4/kapi/actions?limit=5"), 400, 50003, m{"field": "limit", "reason": "is unknown"}},
		{report(pending, `,"status":5`), 409, 20003, m{"from": 0.0, "to": 5.0}},
		{report(failed, `,"status":1`), 409, 20003, m{"from": 3.0, "to": 1.0}},
		{report(failed, ``), 409, 20003, m{"from": 3.0, "to": 3.0}},
		{report(givenUp, ``), 409, 20003, m{"from": 3.0, "to": 3.0, "not_proven_dead": true}},
		{report(queued, `,"status":1`), 409, 20003, m{"from": 0.0, "to": 1.0, "waiting": true}},
		{f.patch(running.Action.ID, `{"fence":99}`), 409, 20002, m{"fence": 99.0}},
		{f.patch(failed.Action.ID, `{"fence":1}`), 409, 20002, m{}},
		{f.as("admin", "POST", "/v4/kapi/actions/"+failed.Action.ID+"/cancel"), 409, 20004, m{"reason": "it has failed already and can only be dismissed"}},
		{f.as("plain", "GET", "/v4/kapi/actions"), 403, 50002, m{"needs": float64(1 << 30)}},
		{f.as("run", "POST", "/v4/kapi/actions/x/dismiss"), 403, 50002, m{"needs": 8.0}},
	} {
		want(t, c.w, c.status, c.code, "")
		if got := facts(t, c.w); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.w.Body, got, c.want)
		}
	}
	held := facts(t, f.post(`{"title":"t","keys":["j","k"]}`))
	if action, _ := held["action"].(m); held["key"] != "k" || action["id"] != running.Action.ID || len(held) != 2 {
		t.Errorf("held: %v", held)
	}
}

// TestDismissFailed: a start dismisses the failed holders of its keys, all of them or, if it is refused, none;
// never one that is not proven dead. What their texts say doesn't matter.
func TestDismissFailed(t *testing.T) {
	f := newFixture(t, server.Options{})
	end := func(r kapi.Remote, state string) {
		t.Helper()
		expectStatus(t, f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d,"status":3,"state":%q}`, r.Fence, state)), 200)
	}
	one, two := f.begin(`{"title":"one","keys":["a"]}`), f.begin(`{"title":"two","keys":["b"]}`)
	end(one, "its child is not proven dead")
	want(t, f.post(`{"title":"t","keys":["a"]}`), 409, 20001, "")
	want(t, f.post(`{"title":"t","keys":["a"],"dismiss_failed":false}`), 409, 20001, "")
	want(t, f.post(`{"title":"t","keys":["a","b"],"dismiss_failed":true}`), 409, 20001, two.Action.ID)
	expectStatus(t, f.as("admin", "GET", "/v4/kapi/actions/"+one.Action.ID), 200)
	end(two, "oops")

	const body = `{"title":"t","keys":["a","b"],"dismiss_failed":true}`
	w := f.post(body, "Idempotency-Key: x")
	var r kapi.Remote
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != 201 || len(r.Dismissed) != 2 {
		t.Fatalf("%d %s (%v)", w.Code, w.Body, err)
	}
	for i, was := range []kapi.Remote{one, two} {
		if a := r.Dismissed[i]; a.ID != was.Action.ID || a.Status != kapi.StatusFailed || len(a.Keys) != 1 {
			t.Errorf("dismissed: %+v", a)
		}
		expectStatus(t, f.as("admin", "GET", "/v4/kapi/actions/"+was.Action.ID), 404)
	}
	if again := f.post(body, "Idempotency-Key: x"); again.Body.String() != w.Body.String() {
		t.Errorf("first %s\nagain %s", w.Body, again.Body)
	}
	expectStatus(t, f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d,"status":2}`, r.Fence)), 200)
	expectStatus(t, f.send("POST", "/v4/kapi/actions/"+r.Action.ID+"/cancel", `{"give_up":true}`, adminToken, jsonBody), 202)
	w = f.post(`{"title":"t","keys":["b"],"dismiss_failed":true}`)
	if want(t, w, 409, 20001, ""); !strings.Contains(w.Body.String(), `"not_proven_dead":true`) {
		t.Errorf("%s", w.Body)
	}
}

// TestDismissFailedWaits: a waiting action dismisses once every holder of its keys has failed.
func TestDismissFailedWaits(t *testing.T) {
	f := newFixture(t, server.Options{})
	holder := f.begin(`{"title":"h","keys":["k"]}`)
	r := f.begin(`{"title":"w","keys":["k"],"wait":true,"dismiss_failed":true}`)
	if r.Action.Status != kapi.StatusPending || r.Dismissed != nil {
		t.Errorf("%+v", r)
	}
	expectStatus(t, f.patch(holder.Action.ID, fmt.Sprintf(`{"fence":%d,"status":3,"state":"not proven dead"}`, holder.Fence)), 200)
	w := f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d}`, r.Fence))
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"keys":["k"]`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	expectStatus(t, f.as("admin", "GET", "/v4/kapi/actions/"+holder.Action.ID), 404)
}
