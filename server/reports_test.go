package server_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/server"
)

const (
	adminToken = "Authorization: Bearer admin"
	jsonBody   = "Content-Type: application/json"
)

func (f *fixture) post(body string, more ...string) *httptest.ResponseRecorder {
	return f.send("POST", "/v4/kapi/actions", body, append([]string{adminToken, jsonBody}, more...)...)
}

func (f *fixture) patch(id, body string) *httptest.ResponseRecorder {
	return f.send("PATCH", "/v4/kapi/actions/"+id, body, adminToken, jsonBody)
}

// begin starts an action over REST.
func (f *fixture) begin(body string) kapi.Remote {
	f.t.Helper()
	w := f.post(body)
	var r kapi.Remote
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != 201 {
		f.t.Fatalf("%d %s (%v)", w.Code, w.Body, err)
	}
	return r
}

func want(t *testing.T, w *httptest.ResponseRecorder, status, code int, says string) {
	t.Helper()
	var body struct {
		Code    int
		Message string
	}
	_ = json.Unmarshal(w.Body.Bytes(), &body)
	if w.Code != status || body.Code != code || !strings.Contains(body.Message, says) {
		t.Errorf("got %d %s, want %d with code %d and %q", w.Code, w.Body, status, code, says)
	}
}

// A program elsewhere starts an action, reports on it and ends it.
func TestReports(t *testing.T) {
	f := newFixture(t, server.Options{})
	w := f.post(`{"title":"Resharding","description":"d","keys":["reshard"],"release_on_failure":true}`)
	golden(t, "started.json", w)
	var r kapi.Remote
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != 201 {
		t.Fatalf("%d, %v", w.Code, err)
	}
	id := r.Action.ID
	report := func(fields string) map[string]any {
		t.Helper()
		w := f.patch(id, fmt.Sprintf(`{"fence":%d%s}`, r.Fence, fields))
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got["id"] != id {
			t.Fatalf("%s: %d %s (%v)", fields, w.Code, w.Body, err)
		}
		return got
	}
	if got := report(`,"progress":0.5,"state":"slot 5"`); got["progress"] != 0.5 || got["state"] != "slot 5" || got["cancel"] != nil {
		t.Errorf("got %v", got)
	}
	if got := report(`,"progress":0.25`); got["progress"] != 0.5 {
		t.Errorf("a lower progress: %v", got)
	}
	if got := report(`,"progress":null,"state":""`); got["progress"] != nil || got["state"] != nil {
		t.Errorf("unknown and cleared: %v", got)
	}
	before, after := report(``)["seq"], report(``)["seq"]
	if before != after {
		t.Errorf("a sign of life took seq %v after %v", after, before)
	}
	if got := report(`,"status":2,"state":"slow"`); got["status"] != 2.0 {
		t.Errorf("got %v", got)
	}
	expectStatus(t, f.as("admin", "POST", "/v4/kapi/actions/"+id+"/cancel"), 202)
	if got := report(``); got["cancel"] != true {
		t.Errorf("the runner is not told of the cancel: %v", got)
	}
	for range 2 {
		if got := report(`,"status":3,"state":"cancelled"`); got["status"] != 3.0 || len(got["keys"].([]any)) != 0 {
			t.Errorf("ended as %v", got)
		}
	}
	want(t, f.patch(id, fmt.Sprintf(`{"fence":%d,"status":5}`, r.Fence)), 409, 20003, "")
	expectStatus(t, f.as("admin", "POST", "/v4/kapi/actions/"+id+"/dismiss"), 204)
	want(t, f.patch(id, fmt.Sprintf(`{"fence":%d,"status":1}`, r.Fence)), 404, 10015, "")
}

// TestReportsThatComeToNothing: a refused report says what was wrong.
func TestReportsThatComeToNothing(t *testing.T) {
	f := newFixture(t, server.Options{})
	r := f.begin(`{"title":"t","keys":["k"]}`)
	id := r.Action.ID
	for _, fence := range []uint64{r.Fence + 1, 0} {
		want(t, f.patch(id, fmt.Sprintf(`{"fence":%d,"progress":0.5}`, fence)), 409, 20002,
			fmt.Sprintf("Unknown fence: no runner of the action was given fence %d: use the one in the answer to its start", fence))
	}
	other := f.begin(`{"title":"later"}`)
	want(t, f.patch(other.Action.ID, fmt.Sprintf(`{"fence":%d}`, r.Fence)), 409, 20002, "Stale fence")
	expectStatus(t, f.patch(id, fmt.Sprintf(`{"fence":%d,"status":3}`, r.Fence)), 200)
	want(t, f.patch(id, fmt.Sprintf(`{"fence":%d,"progress":0.5}`, r.Fence)), 409, 20003,
		"Move not allowed: an action that is failed takes no more reports")
	want(t, f.patch(id, fmt.Sprintf(`{"fence":%d,"status":1}`, r.Fence)), 409, 20003, "an action that is failed can't become running")
	expectStatus(t, f.patch(other.Action.ID, fmt.Sprintf(`{"fence":%d,"status":5}`, other.Fence)), 200)
	want(t, f.patch(other.Action.ID, fmt.Sprintf(`{"fence":%d,"progress":0.5}`, other.Fence)), 404, 10015,
		"Unknown action: it has ended, or never existed")
}

func expectStatus(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Errorf("got %d %s, want %d", w.Code, w.Body, status)
	}
}

// An action that waits: pending, then with keys and a new fence, and running when it says so.
func TestWaits(t *testing.T) {
	f := newFixture(t, server.Options{})
	first := f.begin(`{"title":"first","keys":["k"]}`)
	r := f.begin(`{"title":"second","keys":["k"],"wait":true}`)
	if a := r.Action; a.Status != kapi.StatusPending || len(a.Keys) != 0 || a.State != `waits for "first" (`+first.Action.ID+")" ||
		a.WaitsFor == nil || *a.WaitsFor != (kapi.WaitsFor{Key: "k", Action: first.Action.ID, Title: "first"}) {
		t.Errorf("it is born as %+v", a)
	}
	report := func(fence uint64, fields string) (got struct {
		Status kapi.Status
		Keys   []string
		Fence  uint64
	},
	) {
		t.Helper()
		w := f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d%s}`, fence, fields))
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %s (%v)", fields, w.Code, w.Body, err)
		}
		return got
	}
	if got := report(r.Fence, ""); got.Status != kapi.StatusPending || len(got.Keys) != 0 || got.Fence != 0 {
		t.Errorf("while it waits: %+v", got)
	}
	want(t, f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d,"status":1}`, r.Fence)), 409, 20003, "the action still waits for its keys")
	if w := f.patch(first.Action.ID, fmt.Sprintf(`{"fence":%d,"status":5}`, first.Fence)); w.Code != 200 {
		t.Fatal(w.Body)
	}
	got := report(r.Fence, "")
	if got.Status != kapi.StatusPending || len(got.Keys) != 1 || got.Fence <= r.Fence {
		t.Fatalf("when it is its turn: %+v", got)
	}
	for range 2 { // it may be repeated
		if got := report(got.Fence, `,"status":1`); got.Status != kapi.StatusRunning || got.Fence != 0 {
			t.Errorf("when it has begun: %+v", got)
		}
	}
	want(t, f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d}`, r.Fence)), 409, 20002, "")
	within := fmt.Sprintf(`{"title":"inner","keys":["k"],"wait":true,"within":["gone",%q]}`, r.Action.ID)
	w := f.post(within)
	want(t, w, 409, 20001, "which this start is part of")
	if body := w.Body.String(); !strings.HasSuffix(body, `"key":"k","circular":true}`) {
		t.Errorf("the refusal is %s", body)
	}
	gives := f.begin(`{"title":"third","keys":["k"],"wait":true}`)
	if w := f.patch(gives.Action.ID, fmt.Sprintf(`{"fence":%d,"status":3}`, gives.Fence)); w.Code != 200 || !strings.Contains(w.Body.String(), `"status":4`) {
		t.Errorf("who gives up: %d %s", w.Code, w.Body)
	}
}

// The host is the one that the runner names, or else the address that the request comes from.
func TestHostsOfRunners(t *testing.T) {
	f := newFixture(t, server.Options{})
	for host, body := range map[string]string{
		"ci-7": `{"title":"t","keys":["k"],"host":"ci-7"}`, "192.0.2.7": `{"title":"u"}`,
	} {
		q := request("POST", "/v4/kapi/actions", body, adminToken, jsonBody)
		q.RemoteAddr = "192.0.2.7:1"
		if w := send(f, q); w.Code != 201 || !strings.Contains(w.Body.String(), fmt.Sprintf(`"host":%q`, host)) {
			t.Errorf("%s: %d %s, want the host %s", body, w.Code, w.Body, host)
		}
	}
	w := f.post(`{"title":"w","keys":["k"]}`)
	if want(t, w, 409, 20001, ""); !strings.Contains(w.Body.String(), `"host":"ci-7"`) {
		t.Errorf("a refusal doesn't name the host: %s", w.Body)
	}
	if w := f.send("GET", "/v4/kapi/actions", "", adminToken); !strings.Contains(w.Body.String(), `"host":"ci-7"`) {
		t.Errorf("the list: %s", w.Body)
	}
}

// An exit code goes with the end, and stays.
func TestExitCodes(t *testing.T) {
	f := newFixture(t, server.Options{})
	for status, code := range map[int]int{3: 7, 5: 0} {
		r := f.begin(`{"title":"t"}`)
		body := fmt.Sprintf(`{"fence":%d,"status":%d,"exit_code":%d}`, r.Fence, status, code)
		for range 2 { // it may be repeated
			if w := f.patch(r.Action.ID, body); w.Code != 200 || !strings.Contains(w.Body.String(), fmt.Sprintf(`"exit_code":%d`, code)) {
				t.Errorf("%s: %d %s", body, w.Code, w.Body)
			}
		}
	}
	if w := f.send("GET", "/v4/kapi/actions", "", adminToken); !strings.Contains(w.Body.String(), `"exit_code":7`) {
		t.Errorf("the list: %s", w.Body)
	}
}

// If a cancelled runner gives no reason for its failure, the state says who cancelled it.
func TestCancelledWithoutState(t *testing.T) {
	f := newFixture(t, server.Options{})
	holder := f.begin(`{"title":"h","keys":["k"]}`)
	for body, ended := range map[string]int{`{"title":"t"}`: 3, `{"title":"t","keys":["k"],"wait":true}`: 4} {
		r := f.begin(body)
		expectStatus(t, f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d,"state":"slot 5"}`, r.Fence)), 200)
		expectStatus(t, f.as("admin", "POST", "/v4/kapi/actions/"+r.Action.ID+"/cancel"), 202)
		w := f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d,"status":3}`, r.Fence))
		if w.Code != 200 || !strings.Contains(w.Body.String(), fmt.Sprintf(`"status":%d`, ended)) || !strings.Contains(w.Body.String(), `"state":"cancelled by alice (1)"`) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	expectStatus(t, f.as("admin", "POST", "/v4/kapi/actions/"+holder.Action.ID+"/cancel"), 202)
	if w := f.patch(holder.Action.ID, fmt.Sprintf(`{"fence":%d,"status":3,"state":"stopped at slot 5"}`, holder.Fence)); !strings.Contains(w.Body.String(), `"state":"stopped at slot 5"`) {
		t.Errorf("with a state: %s", w.Body)
	}
}

func TestBornPending(t *testing.T) {
	f := newFixture(t, server.Options{})
	r := f.begin(`{"title":"t","status":0}`)
	if r.Action.Status != kapi.StatusPending || r.Action.StartedAt != 0 || r.LeaseMS != 15000 {
		t.Errorf("%+v", r)
	}
	expectStatus(t, f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d,"status":1}`, r.Fence)), 200)
}

func TestStartsRefused(t *testing.T) {
	f := newFixture(t, server.Options{})
	first := f.begin(`{"title":"first","keys":["k"]}`)
	w := f.post(`{"title":"second","keys":["j","k"]}`)
	want(t, w, 409, 20001, first.Action.ID)
	var body struct{ Action kapi.Action }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Action.ID != first.Action.ID || body.Action.Runner.HeardAt == 0 {
		t.Errorf("the refusal carries %+v (%v)", body.Action, err)
	}
	for fields, says := range map[string]string{
		``: "there is none", `{}`: "title must not be empty", `{"title":null}`: "title must not be null",
		`{"title":5}`: "title must be a string", `{"title":"t","keys":"k"}`: "keys must be a list of strings",
		`{"title":"t","keys":["a b"]}`: "must not have spaces", `{"title":"t","keys":[null]}`: "key",
		`{"title":"t","status":2}`: "status must be 0 or 1", `{"title":"t","status":0.5}`: "status must be a whole number",
		`{"title":"t","release_on_failure":"yes"}`: "must be true or false", `{"title":"t","nonsense":1}`: `unknown field "nonsense"`,
		`{"title":"t","host":7}`: "host must be a string", `{"title":"t","host":null}`: "host must not be null",
		`{"title":"t","host":"a\nb"}`: "must not have control characters", `{"title":"t","host":"` + strings.Repeat("h", 254) + `"}`: "host has 254 characters",
		`{"title":"` + strings.Repeat("x", 201) + `"}`: "title has 201 characters", `[]`: "object", `{"title":"t"} x`: "follows",
	} {
		want(t, f.post(fields), 400, 50004, says)
	}
	want(t, f.send("POST", "/v4/kapi/actions", `{"title":"t"}`, adminToken), 415, 50005, "")
	want(t, f.send("POST", "/v4/kapi/actions", `{"title":"t"}`, "Authorization: Bearer plain", jsonBody), 403, 50002, "")
	want(t, f.post(`{"title":"`+strings.Repeat("x", 70_000)+`"}`), 413, 50004, "")
}

func TestReportsRefused(t *testing.T) {
	f := newFixture(t, server.Options{})
	r := f.begin(`{"title":"t"}`)
	with := func(fields string) string { return fmt.Sprintf(`{"fence":%d%s}`, r.Fence, fields) }
	for body, says := range map[string]string{
		``: "there is none", `{}`: "fence is missing", `{"fence":null}`: "fence must not be null", `{"fence":-1}`: "fence must be a whole number",
		`{"fence":1e999}`: "fence must be a whole number", with(`,"status":0`): "status must be", with(`,"status":4`): "status must be",
		with(`,"status":null`): "status must not be null", with(`,"state":null`): "state must not be null", with(`,"progress":1.5`): "progress must be 0 to 1",
		with(`,"progress":-0.1`): "progress must be 0 to 1", with(`,"progress":"half"`): "progress must be a number", with(`,"exit_code":1`): "exit_code is allowed only with status 3 or 5",
		with(`,"status":2,"exit_code":1`): "exit_code is allowed only with status 3 or 5", with(`,"status":3,"exit_code":"1"`): "exit_code must be a whole number",
		with(`,"status":3,"exit_code":-1`): "exit_code must be 0 to 4294967295, not -1", with(`,"status":3,"exit_code":4294967296`): "exit_code must be 0 to 4294967295",
		with(`,"status":3,"exit_code":null`): "exit_code must not be null",
	} {
		want(t, f.patch(r.Action.ID, body), 400, 50004, says)
	}
	want(t, f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d,"state":"x"}`, r.Fence+1)), 409, 20002, "")
	want(t, f.patch("none", `{"fence":1}`), 404, 10015, "")
	pending := f.begin(`{"title":"t","status":0}`)
	want(t, f.patch(pending.Action.ID, fmt.Sprintf(`{"fence":%d,"status":5}`, pending.Fence)), 409, 20003, "pending")
}

func TestIdempotencyKey(t *testing.T) {
	f := newFixture(t, server.Options{})
	first := f.post(`{"title":"t","keys":["k"]}`, "Idempotency-Key: one")
	again := f.post(`{ "keys":["k"], "title":"t" }`, "Idempotency-Key: one") // the same in another order
	if first.Code != 201 || again.Code != 201 || first.Body.String() != again.Body.String() {
		t.Errorf("first %d %s\nagain %d %s", first.Code, first.Body, again.Code, again.Body)
	}
	waits := f.post(`{"title":"w","keys":["k"],"wait":true}`, "Idempotency-Key: two")
	again = f.post(`{"title":"w","keys":["k"],"wait":true}`, "Idempotency-Key: two")
	if waits.Code != 201 || waits.Body.String() != again.Body.String() {
		t.Errorf("first it waits: %d %s\nagain %d %s", waits.Code, waits.Body, again.Code, again.Body)
	}
	want(t, f.post(`{"title":"u"}`, "Idempotency-Key: one"), 409, 20006, "")
	want(t, f.post(`{"title":"u"}`, "Idempotency-Key: "+strings.Repeat("x", 256)), 400, 50004, "Idempotency-Key")
	// Another token's keys are others.
	w := f.send("POST", "/v4/kapi/actions", `{"title":"u"}`, "Authorization: Bearer owner", jsonBody, "Idempotency-Key: one")
	expectStatus(t, w, 201)
}

// A flood by one token doesn't keep its runners from renewing their leases.
func TestReportsHaveTheirOwnLimit(t *testing.T) {
	f := newFixture(t, server.Options{RateLimit: 0.001, RateBurst: 3})
	r := f.begin(`{"title":"t"}`)
	for f.as("admin", "GET", "/v4/kapi/actions").Code != 429 {
		time.Sleep(0)
	}
	expectStatus(t, f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d}`, r.Fence)), 200)
	expectStatus(t, f.patch("none", `{"fence":1}`), 429) // but only with a valid fence
}

// A client that has not reported on an action with its fence is charged as for any other request, and uses
// up nothing of the action's limit.
func TestStrangersReportsCount(t *testing.T) {
	f := newFixture(t, server.Options{RateLimit: 0.001, RateBurst: 5})
	r := f.begin(`{"title":"t"}`)
	path := "/v4/kapi/actions/" + r.Action.ID
	for _, who := range []string{"owner", "plain"} {
		limited := false
		for range 7 {
			w := f.send("PATCH", path, `{"fence":99}`, "Authorization: Bearer "+who, jsonBody)
			limited = limited || w.Code == 429
		}
		if !limited {
			t.Errorf("%s is never limited", who)
		}
	}
	for range 3 {
		expectStatus(t, f.patch(r.Action.ID, fmt.Sprintf(`{"fence":%d}`, r.Fence)), 200)
	}
}
