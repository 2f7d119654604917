package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
	"github.com/kettubot/kapi/peer"
)

func TestStartOperation(t *testing.T) {
	var ran []moveArgs // written by one operation at a time
	d := move(operation.Of[moveArgs]{
		Description: "It moves.",
		Refine:      func(s *jsonschema.Schema) { s.Properties["to"].Default = json.RawMessage(`"there"`) },
		Run: func(ctx context.Context, h kapi.OperationHandle, a moveArgs) error {
			ran = append(ran, a)
			return untilStopped(ctx, h)
		},
	})
	everywhere(t, d, func(s *site, k *peer.Peer) {
		a := s.begin(k, `{"from": "here", "held": "lock"}`, kapi.StartOptions{By: "ann"})
		if a.Status != kapi.StatusRunning || a.Operation != "move" || a.Title != "Moving" || a.Description != "It moves." ||
			a.StartedBy != "ann" || !slices.Equal(a.Keys, []string{"lock"}) || a.Runner == nil || a.State != "" || a.WaitsFor != nil {
			s.Errorf("started %+v", a)
		}
		var held *kapi.HeldError
		_, err := k.StartOperation(s.Context(), "move", json.RawMessage(`{"from":"here","held":"lock"}`), kapi.StartOptions{})
		if !errors.As(err, &held) || held.Key != "lock" || held.Holder.ID != a.ID {
			s.Errorf("while the key is held: %v", err)
		}
		synctest.Wait()
		if !slices.Equal(ran, []moveArgs{{"here", "there", "lock"}}) {
			s.Errorf("it was run with %+v", ran)
		}
		ran = nil
		if _, err := k.Cancel(s.Context(), a.ID, "bob"); err != nil {
			s.Error(err)
		}
		time.Sleep(2 * time.Second) // until a light peer has noticed
		if all := s.records(); len(all) != 1 || all[0].Status != kapi.StatusFailed || all[0].State != "cancelled by bob" {
			s.Errorf("after the cancel: %+v", all)
		}
	})
}

// Whatever the arguments, the error is the same at each peer, and nothing is left behind.
func TestWrongArguments(t *testing.T) {
	field := func(name, reason string) error {
		return &kapi.ArgumentsError{Operation: "move", Fields: []kapi.FieldError{{Field: name, Reason: reason}}}
	}
	cases := map[string]error{
		`{}`:                              field("from", "is missing"),
		`{"from":7}`:                      field("from", "must be a text, not 7"),
		`{"from":"a","x":1}`:              field("x", `is unknown; known: from, to, held`),
		`{"from":"a","from":"b"}`:         field("", `must not have "from" twice`),
		`[1]`:                             field("", "must be a JSON object"),
		`{"from":"\ud800"}`:               field("", `have a text that is not valid Unicode: byte 1 is \ud800, half of a surrogate pair`),
		`{"from":`:                        field("", "must be JSON: unexpected end of JSON input"),
		`{"from":"a","held":"two words"}`: &kapi.InvalidError{Field: "key", Reason: `"two words" must not have spaces or control characters`},
	}
	d := move(operation.Of[moveArgs]{})
	for arguments, want := range cases {
		texts := map[string]string{}
		everywhere(t, d, func(s *site, k *peer.Peer) {
			_, err := k.StartOperation(s.Context(), "move", json.RawMessage(arguments), kapi.StartOptions{})
			var wrong *kapi.ArgumentsError
			var invalid *kapi.InvalidError
			switch {
			case errors.As(want, &wrong) && errors.As(err, &wrong), errors.As(want, &invalid) && errors.As(err, &invalid):
				texts[err.Error()] = arguments
			default:
				s.Errorf("%s: %v, want %v", arguments, err, want)
			}
			s.none()
		})
		if len(texts) != 1 || texts[want.Error()] == "" {
			t.Errorf("%s: errors %v, want %v", arguments, texts, want)
		}
	}
	huge := `{"from":"` + strings.Repeat("a", 64<<10) + `"}`
	everywhere(t, d, func(s *site, k *peer.Peer) {
		_, err := k.StartOperation(s.Context(), "move", json.RawMessage(huge), kapi.StartOptions{})
		if wrong := (*kapi.ArgumentsError)(nil); !errors.As(err, &wrong) {
			s.Errorf("huge arguments: %v", err)
		}
		s.none()
	})
}

func TestWrongOptions(t *testing.T) {
	everywhere(t, move(operation.Of[moveArgs]{}), func(s *site, k *peer.Peer) {
		for _, o := range []kapi.StartOptions{
			{By: strings.Repeat("é", 201)},
			{By: "a\nb"},
			{By: "\xff"},
			{IdempotencyKey: strings.Repeat("k", 256)},
			{Continue: "x", Preview: true},
			{Continue: "x"},
		} {
			var wrong *kapi.InvalidError
			if _, err := k.StartOperation(s.Context(), "move", json.RawMessage(`{"from":"a"}`), o); !errors.As(err, &wrong) {
				s.Errorf("%+v: %v", o, err)
			}
		}
		s.refused(k, "", kapi.StartOptions{Continue: "unknown"}, kapi.ErrUnknown)
		s.none()
	})
}

// An operation without a schema takes no arguments.
func TestNoArguments(t *testing.T) {
	d := kapi.Definition{Name: "move", Title: "t", Run: func(ctx context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
		return untilStopped(ctx, h)
	}}
	everywhere(t, d, func(s *site, k *peer.Peer) {
		s.refused(k, `{"a":1,"b":2}`, kapi.StartOptions{}, &kapi.ArgumentsError{Operation: "move", Fields: []kapi.FieldError{
			{Field: "a", Reason: "is unknown: the operation takes no arguments"},
			{Field: "b", Reason: "is unknown: the operation takes no arguments"},
		}})
		s.none()
		s.begin(k, `null`, kapi.StartOptions{})
	})
}

// A function of the embedding program that panics doesn't take the peer with it.
func TestOperationPanics(t *testing.T) {
	d := move(operation.Of[moveArgs]{})
	for name, broken := range map[string]func(*kapi.Definition){
		"Check": func(d *kapi.Definition) {
			d.Check = func(json.RawMessage) (json.RawMessage, []kapi.FieldError) { panic("no") }
		},
		"Keys": func(d *kapi.Definition) { d.Keys = func(json.RawMessage) ([]string, error) { panic("no") } },
	} {
		d := d
		broken(&d)
		everywhere(t, d, func(s *site, k *peer.Peer) {
			_, err := k.StartOperation(s.Context(), "move", json.RawMessage(`{"from":"a"}`), kapi.StartOptions{})
			if want := fmt.Sprintf(`operation "move" can't be started: its %s panicked`, name); err == nil || err.Error() != want {
				s.Errorf("%v, want %s", err, want)
			}
			if invalid := (*kapi.InvalidError)(nil); errors.As(err, &invalid) {
				s.Error("it blames the request")
			}
			s.none()
		})
	}
}

func TestPreview(t *testing.T) {
	d := move(operation.Of[moveArgs]{Preflight: func(_ context.Context, a moveArgs) (kapi.Preview, error) {
		if a.From == "nowhere" {
			return kapi.Preview{}, errors.New("no such place")
		}
		return kapi.Preview{Lines: []string{"moves " + a.From}}, nil
	}})
	everywhere(t, d, func(s *site, k *peer.Peer) {
		started, err := k.StartOperation(s.Context(), "move", json.RawMessage(`{"from":"a"}`), kapi.StartOptions{Preview: true})
		if strings.HasSuffix(s.Name(), "offering") {
			if err != nil || started.Preview == nil || !slices.Equal(started.Preview.Lines, []string{"moves a"}) || started.Action.ID != "" {
				s.Errorf("%+v, %v", started, err)
			}
			s.refused(k, `{"from":"nowhere"}`, kapi.StartOptions{Preview: true}, &kapi.PreflightError{Operation: "move", Reason: "no such place"})
		} else if invalid := (*kapi.InvalidError)(nil); !errors.As(err, &invalid) {
			s.Errorf("%+v, %v", started, err)
		}
		s.none()
	})
}

func TestIdempotentStart(t *testing.T) {
	slow := move(operation.Of[moveArgs]{Preflight: func(_ context.Context, a moveArgs) (kapi.Preview, error) {
		if a.From == "nowhere" {
			return kapi.Preview{}, errors.New("no such place")
		}
		return kapi.Preview{}, nil
	}})
	everywhere(t, slow, func(s *site, k *peer.Peer) {
		o := kapi.StartOptions{By: "ann", IdempotencyKey: "1"}
		first := s.begin(k, `{"from":"a"}`, o)
		if again := s.begin(k, ` { "from" : "a" } `, o); again.ID != first.ID {
			s.Errorf("again: %+v, want %s", again, first.ID)
		}
		s.refused(k, `{"from":"b"}`, o, kapi.ErrOtherRequest)
		o.By = "bob"
		if other := s.begin(k, `{"from":"b"}`, o); other.ID == first.ID {
			s.Error("the key of somebody else counts")
		}
		o.IdempotencyKey = "2"
		want := &kapi.PreflightError{Operation: "move", Reason: "no such place"}
		s.refused(k, `{"from":"nowhere"}`, o, want)
		s.refused(k, `{"from":"nowhere"}`, o, want)
		if n := len(s.records()); n != 2 {
			s.Errorf("%d actions", n)
		}
	})
}
