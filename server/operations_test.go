package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/operation"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/server"
)

// move are the arguments of the operation of these tests.
type move struct {
	Slots int    `json:"slots" jsonschema:"how many slots to move"`
	Key   string `json:"key,omitempty"`
	Fail  string `json:"fail,omitempty"`
}

// reshard is an operation that works until it is cancelled, or fails at once.
func reshard() kapi.Definition {
	return operation.Define(operation.Of[move]{
		Name: "reshard", Title: "Resharding", Description: "Moves slots.", Limit: 2,
		Refine: func(s *jsonschema.Schema) { s.Properties["slots"].Minimum = new(1.0) },
		Keys: func(m move) ([]string, error) {
			if m.Key == "" {
				return nil, nil
			}
			return []string{m.Key}, nil
		},
		Preflight: func(_ context.Context, m move) (kapi.Preview, error) {
			if m.Slots > 16384 {
				return kapi.Preview{}, errors.New("there are 16384 slots")
			}
			return kapi.Preview{Lines: []string{"moves slots"}}, nil
		},
		Run: func(ctx context.Context, h kapi.OperationHandle, m move) error {
			if m.Fail != "" {
				return errors.New(m.Fail)
			}
			for {
				if err := h.Proceed(ctx); err != nil {
					return err
				}
				h.SetState("moving")
				<-ctx.Done()
			}
		},
	})
}

// newOffering opens a fixture whose peer offers the operations.
func newOffering(t *testing.T, definitions ...kapi.Definition) *fixture {
	t.Helper()
	return newFixtureOf(t, server.Options{RateLimit: -1}, peer.Options{Operations: definitions})
}

func (f *fixture) startOperation(name, body string, more ...string) *httptest.ResponseRecorder {
	if body != "" {
		more = append(more, jsonBody)
	}
	return f.send("POST", "/v4/kapi/operations/"+name, body, append([]string{adminToken}, more...)...)
}

// started is the action in the answer to a start.
func started(t *testing.T, w *httptest.ResponseRecorder) kapi.Action {
	t.Helper()
	var answer struct{ Action kapi.Action }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 201 {
		t.Fatalf("%d %s (%v)", w.Code, w.Body, err)
	}
	return answer.Action
}

func TestOperations(t *testing.T) {
	expect(t, newOffering(t).as("admin", "GET", "/v4/kapi/operations"), 200, "[]")
	f := newOffering(t, reshard(), kapi.Definition{
		Name: "audit", Title: "Audit", Resume: &kapi.Resume{},
		Run: func(context.Context, kapi.OperationHandle, json.RawMessage) error { return nil },
	})
	golden(t, "operations.json", f.as("admin", "GET", "/v4/kapi/operations"))
	w := f.startOperation("reshard", `{"slots":7,"key":"k"}`)
	golden(t, "operation.json", w)
	a := started(t, w)
	if a.Operation != "reshard" || a.StartedBy != "alice (1)" || len(a.Keys) != 1 || a.Title != "Resharding" {
		t.Errorf("it started %+v", a)
	}
	// No body is an object without arguments.
	if a := started(t, f.startOperation("audit", "")); a.Operation != "audit" {
		t.Errorf("it started %+v", a)
	}
	expect(t, f.startOperation("reshard?preview=true", `{"slots":7}`), 200, `{"preview":{"lines":["moves slots"]}}`)
	expect(t, f.startOperation("audit?preview=true", ""), 200, `{"preview":{"lines":[]}}`)
	expectStatus(t, f.startOperation("audit?preview=false&wait=false", ""), 201)
}

// TestOperationsRefused: each refusal has the facts that a program needs.
func TestOperationsRefused(t *testing.T) {
	f := newOffering(t, reshard())
	first := started(t, f.startOperation("reshard", `{"slots":1,"key":"k"}`))
	type m = map[string]any
	held := func(status, code int, w *httptest.ResponseRecorder, want m) {
		t.Helper()
		got := facts(t, w)
		holder, _ := got["action"].(m)
		if delete(got, "action"); holder["id"] != first.ID {
			t.Errorf("the holder is %v", holder)
		}
		refused(t, w, status, code, got, want)
	}
	held(409, 20001, f.startOperation("reshard", `{"slots":1,"key":"k"}`), m{"key": "k"})
	started(t, f.startOperation("reshard", `{"slots":1}`))
	held(409, 20001, f.startOperation("reshard", `{"slots":1}`), m{"operation": "reshard", "limit": 2.0})
	for _, c := range []struct {
		w            *httptest.ResponseRecorder
		status, code int
		want         m
	}{
		{f.startOperation("shard", ""), 404, 10016, m{"operation": "shard", "operations": []any{"reshard"}}},
		{f.startOperation("reshard", `{"slots":0,"odd":1}`), 400, 50004, m{"operation": "reshard", "fields": []any{
			m{"field": "odd", "reason": "is unknown; known: slots, key, fail"}, m{"field": "slots", "reason": "must be at least 1, not 0"},
		}}},
		{f.startOperation("reshard?preview=true", `{"slots":16385}`), 422, 20005, m{"operation": "reshard", "reason": "there are 16384 slots"}},
		{f.startOperation("reshard?preview=yes", ``), 400, 50003, m{"field": "preview", "reason": "must be true or false"}},
		{f.startOperation("reshard?wait=10m", ``), 400, 50003, m{"field": "wait", "reason": "must be true, false, or a number of seconds, 1 to 31536000"}},
		{f.startOperation("reshard?wait=0", ``), 400, 50003, m{"field": "wait", "reason": "must be true, false, or a number of seconds, 1 to 31536000"}},
		{f.startOperation("reshard?wait=true&wait=true", ``), 400, 50003, m{"field": "wait", "reason": "must not be repeated"}},
		{f.startOperation("reshard?continue=", ``), 400, 50003, m{"field": "continue", "reason": "must be the id of a failed action"}},
		{f.startOperation("reshard?limit=1", ``), 400, 50003, m{"field": "limit", "reason": "is unknown"}},
		{f.startOperation("reshard?continue=nosuchaction0000000000", ``), 404, 10015, m{}},
		{f.startOperation("reshard?continue="+first.ID, ``), 409, 20000, m{}},
		{f.startOperation("reshard?continue="+first.ID+"&preview=true", ``), 400, 50003, m{"field": "preview", "reason": "is not possible together with continue"}},
		{f.as("run", "POST", "/v4/kapi/operations/reshard"), 403, 50002, m{"needs": 8.0}},
		{f.as("admin", "GET", "/v4/kapi/operations?x=1"), 400, 50003, m{"field": "x", "reason": "is unknown"}},
	} {
		refused(t, c.w, c.status, c.code, facts(t, c.w), c.want)
	}
}

// TestArgumentsThatAreNone: a body that can't be the arguments of any operation is refused like wrong arguments.
func TestArgumentsThatAreNone(t *testing.T) {
	f := newOffering(t, reshard())
	const noObject = "must be a JSON object"
	for body, reason := range map[string]string{
		`[]`: noObject, `"slots"`: noObject, `7`: noObject, `true`: noObject, `null`: noObject, " null\n": noObject, ` `: noObject,
		`{"slots":1`: "must be JSON: unexpected end of JSON input", `{"slots":1}{}`: "must be JSON: invalid character '{' after top-level value",
		"\xff\xfe{\x00}\x00": "must be UTF-8, not UTF-16 or UTF-32",
		`{"key":"\ud800"}`:   `have a text that is not valid Unicode: byte 1 is \ud800, half of a surrogate pair`,
	} {
		w := f.startOperation("reshard", body)
		refused(t, w, 400, 50004, facts(t, w), map[string]any{
			"operation": "reshard", "fields": []any{map[string]any{"field": "", "reason": reason}},
		})
	}
	tooLong := `{"key":"` + strings.Repeat("x", 2<<20) + `"}`
	want(t, f.startOperation("reshard", tooLong), 413, 50004, "more than")
}

// TestUnknownOperationNamesOthers: the message has the names that there are, for people.
func TestUnknownOperationNamesOthers(t *testing.T) {
	other := reshard()
	other.Name = "audit"
	for names, f := range map[string]*fixture{
		"are none": newOffering(t), "is only reshard": newOffering(t, reshard()), "are audit, reshard": newOffering(t, reshard(), other),
	} {
		want(t, f.startOperation("shard", ""), 404, 10016, `Unknown operation "shard": there `+names)
	}
}

// TestOperationPanics: a panic of the program's own code is no fault of the client's, wherever the operation is offered.
func TestOperationPanics(t *testing.T) {
	check, keys := reshard(), reshard()
	check.Check = func(json.RawMessage) (json.RawMessage, []kapi.FieldError) { panic("no") }
	keys.Name, keys.Keys = "audit", func(json.RawMessage) ([]string, error) { panic("no") }
	here, elsewhere := newOffering(t, check, keys), newOffering(t)
	other, err := peer.Open(t.Context(), &shared{elsewhere.store.Store}, peer.Options{Operations: []kapi.Definition{check, keys}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*fixture{here, elsewhere} {
		for name, function := range map[string]string{"reshard": "Check", "audit": "Keys"} {
			w := f.startOperation(name, `{"slots":1}`)
			var failure struct{ Message, Report string }
			if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil || w.Code != 500 || failure.Message != "Internal Server Error" {
				t.Errorf("%d %s (%v)", w.Code, w.Body, err)
			}
			if logged := f.log.String(); !strings.Contains(logged, failure.Report) || !strings.Contains(logged, "its "+function+" panicked") {
				t.Errorf("incident %s of %s is not in the log:\n%s", failure.Report, name, logged)
			}
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
}

// A shared store is closed by another of its peers.
type shared struct{ store.Store }

func (*shared) Close() error { return nil }

// TestNotOffered: an operation that only another peer offers is known, and recorded for it while that one lives.
func TestNotOffered(t *testing.T) {
	f := newOffering(t)
	other, err := peer.Open(t.Context(), &shared{f.store.Store}, peer.Options{Operations: []kapi.Definition{reshard()}})
	if err != nil {
		t.Fatal(err)
	}
	a := started(t, f.startOperation("reshard", `{"slots":1}`))
	if a.Runner == nil || a.Operation != "reshard" {
		t.Errorf("it started %+v", a)
	}
	want(t, f.startOperation("reshard", `{"slots":0}`), 400, 50004, "slots: must be at least 1")
	want(t, f.startOperation("reshard", `{"slots":16385}`), 422, 20005, "there are 16384 slots")
	want(t, f.startOperation("reshard?preview=true", ``), 400, 50003, "only by a peer that offers the operation")
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	w := f.startOperation("reshard", `{"slots":1}`)
	var failure struct{ Message, Report, Operation string }
	if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil || w.Code != 503 || failure.Message != "no live peer offers reshard" ||
		failure.Operation != "reshard" || failure.Report == "" || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %s %v (%v)", w.Code, w.Body, w.Header(), err)
	}
}

// TestStartIsRepeated: with an Idempotency-Key, a start happens once for each token.
func TestStartIsRepeated(t *testing.T) {
	f := newOffering(t, reshard())
	key := "Idempotency-Key: x"
	first := started(t, f.startOperation("reshard", `{"slots":1}`, key))
	if again := started(t, f.startOperation("reshard", ` { "slots" : 1 } `, key)); again.ID != first.ID {
		t.Errorf("the repetition started %s, not %s", again.ID, first.ID)
	}
	want(t, f.startOperation("reshard", `{"slots":2}`, key), 409, 20006, "")
	want(t, f.startOperation("reshard", `{"slots":1}`, key, key), 400, 50004, "must be one, of 1 to 255 bytes")
}

// TestKeysOfLongNames: users whose names are shortened to the same have Idempotency-Keys of their own.
func TestKeysOfLongNames(t *testing.T) {
	long := strings.Repeat("n", 200)
	f := newFixtureOf(t, server.Options{RateLimit: -1, Authenticate: func(r *http.Request) (auth.Identity, error) {
		return auth.Identity{ID: r.Header.Get("X-User"), Name: long, Permissions: auth.Admin}, nil
	}}, peer.Options{Operations: []kapi.Definition{reshard()}})
	first := started(t, f.startOperation("reshard", `{"slots":1}`, "Idempotency-Key: x", "X-User: 1"))
	if other := started(t, f.startOperation("reshard", `{"slots":1}`, "Idempotency-Key: x", "X-User: 2")); other.ID == first.ID {
		t.Error("the second user got the first one's action")
	}
}

func TestPauseAndResume(t *testing.T) {
	f := newOffering(t, reshard())
	a := started(t, f.startOperation("reshard", `{"slots":1}`))
	path := "/v4/kapi/actions/" + a.ID
	decode := func(w *httptest.ResponseRecorder) (a kapi.Action) {
		t.Helper()
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 202 {
			t.Fatalf("%d %s (%v)", w.Code, w.Body, err)
		}
		return a
	}
	for range 2 {
		if a := decode(f.as("admin", "POST", path+"/pause")); a.PausedBy != "alice (1)" {
			t.Errorf("paused: %+v", a)
		}
	}
	if a := decode(f.as("admin", "POST", path+"/resume")); a.PausedBy != "" {
		t.Errorf("resumed: %+v", a)
	}
	want(t, f.as("run", "POST", path+"/pause"), 403, 50002, "")
	want(t, f.as("admin", "POST", "/v4/kapi/actions/nosuchaction/resume"), 404, 10015, "")
	want(t, f.send("POST", path+"/pause", `{"x":1}`, adminToken, jsonBody), 400, 50004, "unknown field")
	plain := f.start("plain")
	for _, route := range []string{"/pause", "/resume"} {
		w := f.as("admin", "POST", "/v4/kapi/actions/"+plain.ID+route)
		want(t, w, 409, 20004, "Can't be paused or resumed: ")
		if facts(t, w)["reason"] == nil {
			t.Errorf("it has no reason: %s", w.Body)
		}
	}
}

// TestContinue: a failed action is continued with its arguments and its keys, and is gone.
func TestContinue(t *testing.T) {
	f := newOffering(t, reshard())
	failed := started(t, f.startOperation("reshard", `{"slots":1,"key":"k","fail":"slot 7 is stuck"}`))
	kapitest.Eventually(t, "it has failed", func() bool {
		a, err := f.peer.Get(t.Context(), failed.ID)
		return err == nil && a.Status == kapi.StatusFailed
	})
	running := started(t, f.startOperation("reshard", `{"slots":1}`))
	expect(t, f.startOperation("reshard?continue="+running.ID, ""), 409, `{"code":20000,"message":"Only failed actions can be continued"}`)
	want(t, f.startOperation("reshard?continue="+failed.ID, `{"slots":1}`), 400, 50004, "arguments")
	next := started(t, f.startOperation("reshard?continue="+failed.ID, ""))
	if next.ID == failed.ID || len(next.Keys) != 1 || next.Keys[0] != "k" {
		t.Errorf("it continues as %+v", next)
	}
	want(t, f.as("admin", "GET", "/v4/kapi/actions/"+failed.ID), 404, 10015, "")
}

// refused checks the status, the code and the facts of a refusal.
func refused(t *testing.T, w *httptest.ResponseRecorder, status, code int, got, wanted map[string]any) {
	t.Helper()
	want(t, w, status, code, "")
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(wanted)
	if string(a) != string(b) {
		t.Errorf("%s: got the facts %s, want %s", strings.TrimSpace(w.Body.String()), a, b)
	}
}
