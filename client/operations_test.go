package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// work is an operation that works until it is cancelled. It takes any arguments but {"wrong":true}, fails with
// {"fail":true}, and its preflight refuses {"refuse":true}.
func work() kapi.Definition {
	type arguments struct{ Wrong, Fail, Refuse bool }
	read := func(raw json.RawMessage) (a arguments) { _ = json.Unmarshal(raw, &a); return a }
	return kapi.Definition{
		Name: "work", Title: "Work", Limit: 1, Schema: json.RawMessage(`{"type":"object"}`),
		Check: func(raw json.RawMessage) (json.RawMessage, []kapi.FieldError) {
			if read(raw).Wrong {
				return nil, []kapi.FieldError{{Field: "wrong", Reason: "must not be true"}}
			}
			return raw, nil
		},
		Preflight: func(_ context.Context, raw json.RawMessage) (kapi.Preview, error) {
			if read(raw).Refuse {
				return kapi.Preview{}, errors.New("not today")
			}
			return kapi.Preview{}, nil
		},
		Run: func(ctx context.Context, h kapi.OperationHandle, raw json.RawMessage) error {
			if read(raw).Fail {
				return errors.New("it failed")
			}
			<-ctx.Done()
			return context.Cause(ctx)
		},
	}
}

// offering opens another peer of the host's store, that offers work.
func offering(t *testing.T, h *host) *peer.Peer {
	t.Helper()
	store, err := sqlite.Open(h.path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := peer.Open(t.Context(), store, peer.Options{Operations: []kapi.Definition{work()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestOperationErrors: a start over a server has the errors that a peer returns, by their types and with their facts.
func TestOperationErrors(t *testing.T) {
	h := newHost(t)
	c := h.client("admin")
	start := func(name, arguments string, o kapi.StartOptions) (kapi.Action, error) {
		t.Helper()
		s, err := c.StartOperation(kapitest.Within(t), name, json.RawMessage(arguments), o)
		return s.Action, err
	}
	if _, err := start("work", "", kapi.StartOptions{}); !reflect.DeepEqual(err, &kapi.UnknownOperationError{Name: "work"}) {
		t.Errorf("before anybody offers it: %v", err)
	}
	p := offering(t, h)
	a, err := start("work", "{}", kapi.StartOptions{IdempotencyKey: "x"})
	if err != nil || a.Operation != "work" || a.StartedBy != "ada (1)" {
		t.Fatalf("%+v, %v", a, err)
	}
	if again, err := start("work", "", kapi.StartOptions{IdempotencyKey: "x"}); err != nil || again.ID != a.ID {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	var held *kapi.HeldError
	if _, err := start("work", "", kapi.StartOptions{}); !errors.As(err, &held) || held.Operation != "work" || held.Limit != 1 || held.Holder.ID != a.ID {
		t.Errorf("at its limit: %v", err)
	}
	for arguments, want := range map[string]error{
		`{"wrong":true}`: &kapi.ArgumentsError{Operation: "work", Fields: []kapi.FieldError{{Field: "wrong", Reason: "must not be true"}}},
		`{`:              &kapi.ArgumentsError{Operation: "work", Fields: []kapi.FieldError{{Reason: "must be JSON: unexpected end of JSON input"}}},
	} {
		if _, err := start("work", arguments, kapi.StartOptions{}); !reflect.DeepEqual(err, want) {
			t.Errorf("%s: %v (%T), want %v", arguments, err, err, want)
		}
	}
	if _, err := start("work", `{"x":1}`, kapi.StartOptions{IdempotencyKey: "x"}); !errors.Is(err, kapi.ErrOtherRequest) {
		t.Errorf("the key with another body: %v", err)
	}
	if _, err := start("work", "", kapi.StartOptions{Continue: a.ID}); !errors.Is(err, kapi.ErrNotFailed) {
		t.Errorf("continuing one that has not failed: %v", err)
	}
	var invalid *kapi.InvalidError
	if _, err := start("work", "", kapi.StartOptions{Preview: true}); !errors.As(err, &invalid) || invalid.Field != "preview" {
		t.Errorf("a preview: %v", err)
	}
	waiting, err := start("work", `{"refuse":true}`, kapi.StartOptions{Wait: 1500 * time.Millisecond})
	if err != nil || waiting.Status != kapi.StatusPending || waiting.WaitsFor == nil || waiting.WaitsFor.Operation != "work" {
		t.Errorf("waiting: %+v, %v", waiting, err)
	}
	if _, err := h.client("run").StartOperation(t.Context(), "work", nil, kapi.StartOptions{}); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("without the permission: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := start("work", "", kapi.StartOptions{}); !reflect.DeepEqual(err, &kapi.NotOfferedError{Operation: "work"}) {
		t.Errorf("when nobody offers it any more: %v", err)
	}
	offers, err := c.Offers(t.Context())
	if err != nil || len(offers) != 1 || offers[0].Name != "work" || offers[0].Limit != 1 || offers[0].Offered {
		t.Errorf("offers: %+v, %v", offers, err)
	}
}

func TestPreflightAndPause(t *testing.T) {
	h := newHost(t)
	offering(t, h)
	c := h.client("admin")
	if _, err := c.StartOperation(kapitest.Within(t), "work", json.RawMessage(`{"refuse":true}`), kapi.StartOptions{}); !reflect.DeepEqual(err, &kapi.PreflightError{Operation: "work", Reason: "not today"}) {
		t.Errorf("preflight: %v", err)
	}
	s, err := c.StartOperation(kapitest.Within(t), "work", nil, kapi.StartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.Pause(t.Context(), s.Action.ID, ""); err != nil || a.PausedBy != "ada (1)" {
		t.Errorf("paused: %+v, %v", a, err)
	}
	if a, err := c.Unpause(t.Context(), s.Action.ID, ""); err != nil || a.PausedBy != "" {
		t.Errorf("resumed: %+v, %v", a, err)
	}
	plain, err := c.Start(t.Context(), kapi.Spec{Title: "t"}, "")
	if err != nil {
		t.Fatal(err)
	}
	var no *kapi.NotPausableError
	for _, change := range []func(context.Context, string, string) (kapi.Action, error){c.Pause, c.Unpause} {
		if _, err := change(t.Context(), plain.Action.ID, ""); !errors.As(err, &no) || no.Reason == "" {
			t.Errorf("of another action: %v", err)
		}
		if _, err := change(t.Context(), "nosuchaction", ""); !errors.Is(err, kapi.ErrUnknown) {
			t.Errorf("of none: %v", err)
		}
	}
}

// A peer and a client have the same methods for operations.
var _ = []interface {
	Offers(context.Context) ([]kapi.Offer, error)
	StartOperation(context.Context, string, json.RawMessage, kapi.StartOptions) (kapi.Started, error)
	Pause(ctx context.Context, id, by string) (kapi.Action, error)
	Unpause(ctx context.Context, id, by string) (kapi.Action, error)
}{(*client.Client)(nil), (*peer.Peer)(nil)}

// TestNamesOfNoOperation: a name that no operation can have is an unknown one, whoever is asked.
func TestNamesOfNoOperation(t *testing.T) {
	h := newHost(t)
	p := offering(t, h)
	for _, name := range []string{"", ".", "..", "/", "work/", "%2e"} {
		_, here := p.StartOperation(kapitest.Within(t), name, nil, kapi.StartOptions{})
		_, there := h.client("admin").StartOperation(kapitest.Within(t), name, nil, kapi.StartOptions{})
		if !reflect.DeepEqual(there, here) {
			t.Errorf("%q: a peer says %v, a client %v", name, here, there)
		}
	}
}

// TestSameArgumentsErrors: arguments that no operation can have are refused as by a peer, whoever is asked.
func TestSameArgumentsErrors(t *testing.T) {
	h := newHost(t)
	p := offering(t, h)
	for _, arguments := range []string{`[1]`, `"x"`, `{"a"`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, `{"a":"` + strings.Repeat("a", 1<<16) + `"}`} {
		_, here := p.StartOperation(kapitest.Within(t), "work", json.RawMessage(arguments), kapi.StartOptions{})
		_, there := h.client("admin").StartOperation(kapitest.Within(t), "work", json.RawMessage(arguments), kapi.StartOptions{})
		var want, got *kapi.ArgumentsError
		if !errors.As(here, &want) || !errors.As(there, &got) || !reflect.DeepEqual(got, want) {
			t.Errorf("%.20q: a peer says %v, a client %v", arguments, here, there)
		}
	}
	null := json.RawMessage("null")
	if _, err := h.client("admin").StartOperation(kapitest.Within(t), "work", null, kapi.StartOptions{}); err != nil {
		t.Errorf("null, which a peer takes for {}: %v", err)
	}
}
