package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/auth"
)

// A client gets the error that the server had from the code and the facts alone, whatever the message.
func TestErrorsComeBack(t *testing.T) {
	all := []error{
		auth.ErrNoToken, auth.ErrInvalidToken, auth.ErrExpiredToken, kapi.ErrUnknown, kapi.ErrGivenUp, kapi.ErrWaiting,
		kapi.ErrStaleFence, kapi.ErrOtherRequest, kapi.ErrNotFailed,
		&kapi.FenceError{}, &kapi.FenceError{Fence: 1 << 62},
		&kapi.NotCancellableError{Reason: "because"},
		&kapi.InvalidError{Field: "title", Reason: "Bad body: must not"},
		&kapi.UnknownOperationError{Name: "reshard"}, &kapi.UnknownOperationError{Name: "x", Known: []string{"audit", "reshard"}},
		&kapi.ArgumentsError{Operation: "reshard", Fields: []kapi.FieldError{{Field: "nodes[2].host", Reason: "is missing"}, {Reason: "are odd"}}},
		&kapi.PreflightError{Operation: "reshard", Reason: "the cluster is down"},
		&kapi.CancelledError{By: "ann"}, &kapi.CancelledError{},
	}
	for from := kapi.StatusPending; from <= kapi.StatusCompleted; from++ {
		for to := kapi.StatusPending; to <= kapi.StatusCompleted; to++ {
			all = append(all, &kapi.MoveError{From: from, To: to})
		}
	}
	for _, want := range all {
		refusal := Refused(fmt.Errorf("wrapped: %w", want))
		if refusal == nil || refusal.Message == "" {
			t.Errorf("%v is refused as %+v", want, refusal)
			continue
		}
		for _, message := range []string{"", "Move not allowed: an action that is running can't become failed", "nonsense"} {
			body := *refusal
			body.Message = message
			if got := comesBack(t, body); !reflect.DeepEqual(got, want) {
				t.Errorf("%v (%T) with the message %q comes back as %v (%T)", want, want, message, got, got)
			}
		}
	}
}

// comesBack returns the error that a client makes of a body.
func comesBack(t *testing.T, body any) error {
	t.Helper()
	var a Answer
	if err := json.Unmarshal(encode(body), &a); err != nil {
		t.Fatal(err)
	}
	return a.Err()
}

func TestHeldComesBack(t *testing.T) {
	holder := kapi.Action{
		ID: "x", Title: "key k is not proven dead", Status: kapi.StatusFailed, Keys: []string{"k"},
		Runner: &kapi.Runner{ID: "r", Host: "db1", PID: 7, HeardAt: 9},
	}
	want := &kapi.HeldError{Key: "k", Holder: holder, Circular: true}
	if got := comesBack(t, HeldBy(want)); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	atLimit := &kapi.HeldError{Operation: "reshard", Limit: 2, Holder: holder}
	if got := comesBack(t, HeldBy(atLimit)); !reflect.DeepEqual(got, atLimit) {
		t.Errorf("got  %+v\nwant %+v", got, atLimit)
	}
	var held *kapi.HeldError
	if got := comesBack(t, HeldByOther(want)); !errors.As(got, &held) || held.Key != "k" || held.Holder.Runner.Host != "db1" || !held.Circular {
		t.Errorf("for another client's action: %+v", got)
	}
}

// An error in the whole body has no field, and one in a key has the field "keys".
func TestInvalidComesBack(t *testing.T) {
	for _, c := range []struct {
		err  error
		want kapi.InvalidError
		says string
	}{
		{BadBody.Because("there is none"), kapi.InvalidError{Reason: "Bad body: there is none"}, "Bad body: there is none"},
		{TooLarge.Because("it has 5 bytes"), kapi.InvalidError{Reason: "Bad body: it has 5 bytes"}, "Bad body: it has 5 bytes"},
		{&kapi.InvalidError{Field: "key", Reason: "must not be empty"}, kapi.InvalidError{Field: "keys", Reason: "must not be empty"}, "keys must not be empty"},
		{BadBody.About("Idempotency-Key", "is odd"), kapi.InvalidError{Field: "Idempotency-Key", Reason: "is odd"}, "Idempotency-Key is odd"},
	} {
		got := comesBack(t, Refused(c.err))
		if !reflect.DeepEqual(got, &c.want) || got.Error() != c.says {
			t.Errorf("%v comes back as %+v (%v)", c.err, got, got)
		}
	}
}

// A client whose token lacks a permission is told which one.
func TestForbiddenComesBack(t *testing.T) {
	for needs, want := range map[auth.Permissions][2]string{
		auth.Admin:       {"This needs the permission ADMIN", "not allowed: this needs a token with the permission admin"},
		auth.ReadMetrics: {"This needs the permission READ_METRICS", "not allowed: this needs a token with the permission metrics"},
		auth.RunActions:  {"This needs the permission RUN_ACTIONS", "not allowed: this needs a token with the permission run"},
	} {
		refusal := Refused(Forbidden(needs))
		got := comesBack(t, refusal)
		if refusal.Message != want[0] || refusal.Needs != needs || !errors.Is(got, auth.ErrForbidden) || got.Error() != want[1] {
			t.Errorf("%v: %+v comes back as %v", needs, refusal, got)
		}
	}
	if got := comesBack(t, CrossOrigin); !errors.Is(got, auth.ErrForbidden) || got.Error() != "not allowed: Request from another origin refused" {
		t.Errorf("another origin: %v", got)
	}
}

// A parameter that is wrong comes back like a field of the body.
func TestBadQueryComesBack(t *testing.T) {
	want := &kapi.InvalidError{Field: "continue", Reason: "is odd"}
	if got := comesBack(t, Refused(BadQuery.About("continue", "is odd"))); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// An operation that nobody offers is told from a store that can't be reached, and is a kapi.ErrUnavailable, too.
func TestNotOfferedComesBack(t *testing.T) {
	want := &kapi.NotOfferedError{Operation: "reshard"}
	got := comesBack(t, NotOffered(want, "ABC"))
	if !reflect.DeepEqual(got, want) || !errors.Is(got, kapi.ErrUnavailable) {
		t.Errorf("got %+v", got)
	}
	if got := comesBack(t, Failure{Message: want.Error(), Incident: "ABC"}); got != nil {
		t.Errorf("without the operation it comes back as %+v", got)
	}
}

// What can't be paused has the code of what can't be cancelled: a client knows what it has asked for.
func TestNotPausableComesBack(t *testing.T) {
	refusal := Refused(&kapi.NotPausableError{Reason: "because"})
	if got := comesBack(t, refusal); refusal.Status != 409 || refusal.Code != 20004 || !reflect.DeepEqual(got, &kapi.NotCancellableError{Reason: "because"}) {
		t.Errorf("%+v comes back as %+v", refusal, got)
	}
}
