package store

import (
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/kettubot/kapi"
)

// aDefined draws everything that the column has. It is in the record before the columns are read that every action has.
func aDefined(t *rapid.T) Record {
	text := rapid.StringMatching(`[a-zé"\\<]{0,8}`)
	r := Record{Action: kapi.Action{
		ID: "a", Title: "t", Operation: "reshard", StartedBy: text.Draw(t, "by"), Attempt: rapid.IntRange(0, 9).Draw(t, "attempt"),
		NoCancel: text.Draw(t, "no cancel"), PausedBy: text.Draw(t, "paused"),
	}}
	r.Defined = rapid.Ptr(rapid.Make[Defined](), true).Draw(t, "defined")
	if r.Defined == nil {
		r.Operation, r.StartedBy, r.Attempt, r.NoCancel, r.PausedBy = "", "", 0, "", ""
	}
	return r
}

func TestDefinedColumn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := aDefined(t)
		got := Record{Action: kapi.Action{ID: r.ID, Title: r.Title}}
		text := EncodeDefined(&r)
		if err := DecodeDefined(text, &got); err != nil {
			t.Fatal(err)
		}
		if EncodeDefined(&got) != text || (text == "") != (r.Defined == nil) || !reflect.DeepEqual(got.Action, r.Action) {
			t.Fatalf("%s: %+v became %+v", text, r, got)
		}
	})
}

// What an action waits for without a key is its operation, which the column of what it waits for doesn't have.
func TestDefinedWaitsFor(t *testing.T) {
	r := Record{Action: kapi.Action{ID: "a", Operation: "reshard"}, Defined: &Defined{Origin: "a"}}
	for _, w := range []kapi.WaitsFor{{}, {Key: "k"}, {Action: "b", Title: "B"}} {
		got, want := Record{Action: kapi.Action{WaitsFor: &w}}, w
		if w.Key == "" {
			want.Operation = "reshard"
		}
		if err := DecodeDefined(EncodeDefined(&r), &got); err != nil || *got.WaitsFor != want {
			t.Errorf("%+v became %+v, %v", w, got.WaitsFor, err)
		}
	}
}

func TestDefinedUnreadable(t *testing.T) {
	if err := DecodeDefined("{", &Record{}); !errors.Is(err, kapi.ErrUnavailable) {
		t.Error(err)
	}
}

func TestRecorded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := aDefined(t)
		r.Description, r.LeaveRunning, r.Keys = "d", rapid.Bool().Draw(t, "leave"), []string{"k"}
		r.ReleaseOnFailure = rapid.Bool().Draw(t, "release")
		if rapid.Bool().Draw(t, "runner") {
			r.Runner = &kapi.Runner{ID: "r", Host: "h", PID: 1}
		}
		s, err := Recorded(&r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Record()
		if err != nil || EncodeDefined(&got) != EncodeDefined(&r) {
			t.Fatalf("%+v became %+v, %v", r, got, err)
		}
		if got.Defined, r.Defined = nil, nil; !reflect.DeepEqual(got, r) {
			t.Fatalf("%+v became %+v", r, got)
		}
	})
}
