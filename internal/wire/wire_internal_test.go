package wire

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

func ptr[T any](v T) *T { return &v }

// Each message is encoded as these bytes, and decoded to the same values.
func TestFrames(t *testing.T) {
	identify := NewIdentify("Bearer a", IntentInternal)
	resume := NewResume("Bearer a", "e.64.x", 1<<62)
	user := NewUser(auth.Identity{ID: "1", Type: auth.TypeBot, Name: "<ada>", Permissions: auth.Admin})
	nameless := NewUser(auth.Identity{ID: "1", Type: "robot"})
	for want, got := range map[string][]byte{
		`{"op":3,"d":{"heartbeat_interval":30000}}`: Encode(OpHello, Hello{30000}),
		`{"op":1,"d":0}`: Encode(OpHeartbeat, Heartbeat(0)),
		`{"op":4,"d":{"intents":64,"properties":{"browser":"kapi"},"token":"Bearer a"}}`:                                      Encode(OpIdentify, identify),
		`{"op":5,"d":{"seq":4611686018427387904,"session_id":"e.64.x","token":"Bearer a"}}`:                                   Encode(OpResume, resume),
		`{"op":0,"t":"READY","s":7,"d":{"user":{"id":"1","type":"bot","perms":8,"name":"\u003cada\u003e"},"session_id":"x"}}`: Dispatch(TypeReady, 7, NewReady(user, "x")),
		`{"op":0,"t":"READY","s":7,"d":{"user":{"id":"1","type":"user","perms":0},"session_id":"x"}}`:                         Dispatch(TypeReady, 7, NewReady(nameless, "x")),

		`{"op":0,"t":"RESUMED","s":0,"d":{}}`: Dispatch(TypeResumed, 0, Ready{}),
	} {
		if string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	data := func(frame []byte, into any) {
		t.Helper()
		m, err := Parse(frame)
		if err == nil {
			err = Unmarshal(m.Data, into)
		}
		if err != nil {
			t.Error(err)
		}
	}
	var i Identify
	data(Encode(OpIdentify, identify), &i)
	if bits, ok := i.Bits(); !ok || bits != IntentInternal || i.Token != "Bearer a" {
		t.Errorf("identify: %+v", i)
	}
	var r Resume
	data(Encode(OpResume, resume), &r)
	if seq, ok := r.Number(); !ok || seq != 1<<62 || r.SessionID != "e.64.x" {
		t.Errorf("resume: %+v", r)
	}
	for _, properties := range []string{``, `,"properties":null`, `,"properties":"x"`, `,"properties":[1e999]`} {
		var i Identify
		data([]byte(`{"op":4,"d":{"token":"t","intents":0`+properties+`}}`), &i)
		if _, ok := i.Bits(); !ok {
			t.Errorf("with %s: %+v", properties, i)
		}
	}
}

// Each body is encoded as these bytes, and decoded to the same values.
func TestStart(t *testing.T) {
	for want, spec := range map[string]kapi.Spec{
		`{"title":"t"}`: {Title: "t"},
		`{"title":"t","description":"d","keys":["a","b"],"release_on_failure":true,"dismiss_failed":true,"within":["x"],"wait":true,"host":"ci-7"}`: {
			Title: "t", Description: "d", Keys: []string{"a", "b"}, ReleaseOnFailure: true, DismissFailed: true, Within: []string{"x"}, Wait: -1, Host: "ci-7",
		},
	} {
		got := encode(NewStart(spec))
		if string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if s, err := fieldsOf(t, got).Start(); err != nil || !reflect.DeepEqual(s.Spec(), spec) || s.Pending() {
			t.Errorf("%s is read as %+v, %v", want, s, err)
		}
	}
	if s := NewStart(kapi.Spec{Wait: time.Second}); !s.Wait {
		t.Errorf("one that waits a second: %+v", s)
	}
	for body, pending := range map[string]bool{`{"title":"t","status":0}`: true, `{"title":"t","status":1}`: false} {
		if s, err := fieldsOf(t, []byte(body)).Start(); err != nil || s.Pending() != pending {
			t.Errorf("%s: %+v, %v", body, s, err)
		}
	}
}

func TestReport(t *testing.T) {
	for want, report := range map[string]kapi.Report{
		`{"fence":7}`:                 {Fence: 7},
		`{"fence":7,"progress":null}`: {Fence: 7, ResetProgress: true},
		`{"fence":7,"progress":0.5,"state":"s","status":2}`: {Fence: 7, Progress: ptr(0.5), State: ptr("s"), Status: ptr(kapi.StatusImpacted)},
		`{"fence":7,"status":3,"exit_code":3}`:              {Fence: 7, Status: ptr(kapi.StatusFailed), ExitCode: ptr(3)},
		`{"fence":7,"status":5,"exit_code":0}`:              {Fence: 7, Status: ptr(kapi.StatusCompleted), ExitCode: ptr(0)},
		`{"fence":7,"progress":0,"state":"","status":0}`:    {Fence: 7, Progress: ptr(0.0), State: ptr(""), Status: ptr(kapi.StatusPending)},
	} {
		got := encode(NewReport(report))
		if string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if r, err := fieldsOf(t, got).Report(); err != nil || !reflect.DeepEqual(r.Said(), report) {
			t.Errorf("%s is read as %+v, %v", want, r, err)
		}
	}
}

// One refusal names one field: the first in a fixed order, whatever the order in the body.
func TestFieldsRefused(t *testing.T) {
	start := func(f Fields) error { _, err := f.Start(); return err }
	report := func(f Fields) error { _, err := f.Report(); return err }
	cancel := func(f Fields) error { _, err := f.Cancel(); return err }
	signIn := func(f Fields) error { _, err := f.SignIn(); return err }
	for _, c := range []struct {
		read                func(Fields) error
		body, field, reason string
	}{
		{start, `{"within":1,"wait":1,"title":"t"}`, "wait", "must be true or false"},
		{start, `{"within":"x"}`, "within", "must be a list of strings"},
		{start, `{"title":null}`, "title", "must not be null"},
		{start, `{"keys":["\ud800"]}`, "keys", "is not valid Unicode"},
		{start, `{"status":-1,"odd":1}`, "odd", "is unknown"},
		{start, `{"status":-1}`, "status", "must be 0 or 1, not -1"},
		{start, `{"status":"x"}`, "status", "must be a whole number, not negative"},
		{start, `{"dismiss_failed":1}`, "dismiss_failed", "must be true or false"},
		{report, `{"status":1}`, "fence", "is missing"},
		{report, `{"fence":-1}`, "fence", "must be a whole number, not negative"},
		{report, `{"fence":1,"progress":"x"}`, "progress", "must be a number"},
		{report, `{"fence":1,"state":1}`, "state", "must be a string"},
		{start, `{"title":"t","host":1}`, "host", "must be a string"},
		{start, `{"title":"t","host":"\ud800"}`, "host", "is not valid Unicode"},
		{report, `{"fence":1,"exit_code":"x"}`, "exit_code", "must be a whole number, not negative"},
		{report, `{"fence":1,"exit_code":null}`, "exit_code", "must not be null"},
		{report, `{"fence":1,"b":1,"a":1}`, "a", "is unknown"},
		{cancel, `{"give_up":null}`, "give_up", "must not be null"},
		{cancel, `{"Give_Up":true}`, "Give_Up", "is unknown"},
		{signIn, `{"token":1}`, "token", "must be a string"},
		{signIn, `{"code":1}`, "code", "must be a string"},
		{Fields.Done, `{"force":true}`, "force", "is unknown"},
	} {
		err := c.read(fieldsOf(t, []byte(c.body)))
		var refused *Refusal
		if !errors.As(err, &refused) || refused.Code != 50004 || refused.Field != c.field || !strings.HasPrefix(refused.Reason, c.reason) {
			t.Errorf("%s: %+v, want %s %s", c.body, refused, c.field, c.reason)
			continue
		}
		said := "Bad body: " + refused.Field + " " + refused.Reason
		if c.reason == "is unknown" {
			said = `Bad body: unknown field "` + c.field + `"`
		}
		if refused.Message != said {
			t.Errorf("%s: it says %q, want %q", c.body, refused.Message, said)
		}
	}
}

func fieldsOf(t *testing.T, body []byte) (f Fields) {
	t.Helper()
	if err := json.Unmarshal(body, &f); err != nil {
		t.Fatal(err)
	}
	return f
}
