package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/peer"
)

func TestStartToEnd(t *testing.T) {
	k := newPeer(t)
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	release := make(chan struct{})
	a := start(t, k, kapi.Spec{Title: "Resharding", Description: "d", Keys: []string{"reshard"}},
		func(_ context.Context, h kapi.Handle) error {
			if h.ID() != h.Action().ID || h.Fence() == 0 || h.Fence() != h.Action().Seq {
				t.Errorf("handle of %s with fence %d, action %+v", h.ID(), h.Fence(), h.Action())
			}
			h.SetState("slot 5")
			h.SetProgress(0.5)
			<-release
			h.SetProgress(0.75)
			h.SetExitCode(0)
			return nil
		})
	if a.Status != kapi.StatusRunning || a.StartedAt != a.CreatedAt || a.Seq == 0 || a.Description != "d" ||
		!slices.Equal(a.Keys, []string{"reshard"}) || a.Runner == nil || a.Runner.ID != k.Self().ID || a.Runner.HeardAt == 0 {
		t.Errorf("started as %+v", a)
	}
	half := awaitNext(t, w, a.ID, func(a kapi.Action) bool { return a.State == "slot 5" && a.Progress != nil })
	if *half.Progress != 0.5 || half.ExitCode != nil {
		t.Errorf("half way: %+v", half)
	}
	got, err := k.Get(t.Context(), a.ID)
	if err != nil || got.Seq != half.Seq || got.Status != kapi.StatusRunning {
		t.Errorf("get: %+v, %v", got, err)
	}
	close(release)
	end := awaitNext(t, w, a.ID, is(kapi.StatusCompleted))
	if *end.Progress != 0.75 || end.ExitCode == nil || len(end.Keys) != 0 || end.Seq <= half.Seq {
		t.Errorf("ended as %+v", end)
	}
	_, err = k.Get(t.Context(), a.ID)
	wantError(t, err, kapi.ErrUnknown)
	if all, err := k.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("list after the end: %v, %v", all, err)
	}
}

func TestList(t *testing.T) {
	k := newPeer(t)
	empty, err := k.ListJSON(t.Context())
	if err != nil || string(empty.JSON) != "[]" || empty.Epoch == "" {
		t.Errorf("empty list: %s, %v", empty.JSON, err)
	}
	var ids []string
	for range 5 {
		ids = append(ids, start(t, k, kapi.Spec{}, untilStopped).ID)
	}
	all, err := k.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, a := range all {
		listed = append(listed, a.ID)
	}
	if !slices.Equal(listed, ids) {
		t.Errorf("listed %v, want %v: oldest first", listed, ids)
	}
	listing, err := k.ListJSON(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var decoded []kapi.Action
	if err := json.Unmarshal(listing.JSON, &decoded); err != nil || !reflect.DeepEqual(decoded, all) {
		t.Errorf("decoded %+v, %v; want %+v", decoded, err, all)
	}
	if listing.Epoch != empty.Epoch || listing.Seq <= empty.Seq {
		t.Errorf("listing of %s, %d after %s, %d", listing.Epoch, listing.Seq, empty.Epoch, empty.Seq)
	}
}

func TestHeld(t *testing.T) {
	k := newPeer(t)
	a := start(t, k, kapi.Spec{Title: "first", Keys: []string{"x", "y"}}, untilStopped)
	_, err := k.Start(t.Context(), kapi.Spec{Title: "second", Keys: []string{"z", "y"}}, untilStopped)
	var held *kapi.HeldError
	if !errors.As(err, &held) {
		t.Fatalf("error %v, want a HeldError", err)
	}
	if held.Key != "y" || held.Holder.ID != a.ID || held.Holder.Title != "first" || held.Holder.NotProvenDead ||
		held.Holder.Runner == nil || held.Holder.Runner.HeardAt < a.Runner.HeardAt {
		t.Errorf("held by %+v", held)
	}
	if !strings.Contains(err.Error(), a.ID) || !strings.Contains(err.Error(), `"y"`) {
		t.Errorf("the error %q names neither key nor holder", err)
	}
	start(t, k, kapi.Spec{Keys: []string{"z"}}, untilStopped) // the refused start holds none of its keys
}

func TestDismiss(t *testing.T) {
	log := new(kapitest.Output)
	k := openPeer(t, newStore(t), peer.Options{Logger: newLogger(log)})
	_, err := k.Dismiss(t.Context(), "never", "ada")
	wantError(t, err, kapi.ErrUnknown)

	running := start(t, k, kapi.Spec{}, untilStopped)
	_, err = k.Dismiss(t.Context(), running.ID, "ada")
	wantError(t, err, kapi.ErrNotFailed)

	failed := fail(t, k, kapi.Spec{Keys: []string{"k"}}, "boom")
	if failed.State != "boom" || !slices.Equal(failed.Keys, []string{"k"}) {
		t.Errorf("failed as %+v", failed)
	}
	_, err = k.Start(t.Context(), kapi.Spec{Title: "again", Keys: []string{"k"}}, untilStopped)
	var held *kapi.HeldError
	if !errors.As(err, &held) || held.Holder.Status != kapi.StatusFailed {
		t.Errorf("a failed action does not hold its key: %v", err)
	}
	end, err := k.Dismiss(t.Context(), failed.ID, "ada")
	if err != nil || end.Status != kapi.StatusAborted || len(end.Keys) != 0 || end.State != "boom" {
		t.Errorf("dismissed: %+v, %v", end, err)
	}
	if text := log.String(); !strings.Contains(text, failed.ID) || !strings.Contains(text, "by=ada") {
		t.Errorf("the log does not say who dismissed what: %s", text)
	}
	_, err = k.Dismiss(t.Context(), failed.ID, "ada")
	wantError(t, err, kapi.ErrUnknown)
	start(t, k, kapi.Spec{Keys: []string{"k"}}, untilStopped)
}

func TestDismissFailed(t *testing.T) {
	k := newPeer(t)
	failed := fail(t, k, kapi.Spec{Keys: []string{"k"}}, "boom")
	err := k.Do(t.Context(), kapi.Spec{Title: "t", Keys: []string{"k"}, DismissFailed: true},
		func(_ context.Context, h kapi.Handle) error {
			if d := h.Dismissed(); len(d) != 1 || d[0].ID != failed.ID || d[0].State != "boom" {
				t.Errorf("dismissed %+v", d)
			}
			return nil
		})
	if err != nil {
		t.Error(err)
	}
}

func TestReleaseOnFailure(t *testing.T) {
	k := newPeer(t)
	spec := kapi.Spec{Keys: []string{"k"}, ReleaseOnFailure: true}
	if a := fail(t, k, spec, "boom"); len(a.Keys) != 0 {
		t.Errorf("the failed action holds %v", a.Keys)
	}
	fail(t, k, spec, "boom again")
}

func TestCancel(t *testing.T) {
	k := newPeer(t)
	_, err := k.Cancel(t.Context(), "never", "ada")
	wantError(t, err, kapi.ErrUnknown)
	var not *kapi.NotCancellableError
	if _, err = k.Cancel(t.Context(), fail(t, k, kapi.Spec{}, "boom").ID, "ada"); !errors.As(err, &not) {
		t.Errorf("cancel of a failed one: %v", err)
	}

	for _, tt := range []struct{ by, said, want string }{
		{"ada", "", "cancelled by ada"},
		{"", "", "cancelled"},
		{"ada", "undone", "cancelled by ada: undone"},
	} {
		a := start(t, k, kapi.Spec{}, func(ctx context.Context, _ kapi.Handle) error {
			<-ctx.Done()
			var cancelled *kapi.CancelledError
			if cause := context.Cause(ctx); !errors.As(cause, &cancelled) || cancelled.By != tt.by {
				t.Errorf("cause %v", cause)
			}
			if tt.said != "" {
				return errors.New(tt.said)
			}
			return ctx.Err()
		})
		asked, err := k.Cancel(t.Context(), a.ID, tt.by)
		if err != nil || asked.CancelRequestedAt == 0 || asked.Status != kapi.StatusRunning {
			t.Errorf("asked: %+v, %v", asked, err)
		}
		if end := await(t, k, a.ID, is(kapi.StatusFailed)); end.State != tt.want {
			t.Errorf("state %q, want %q", end.State, tt.want)
		}
	}
}

func TestCancelTwiceKeepsTheFirst(t *testing.T) {
	k := newPeer(t)
	release := make(chan struct{})
	a := start(t, k, kapi.Spec{}, func(context.Context, kapi.Handle) error { <-release; return nil })
	first, err := k.Cancel(t.Context(), a.ID, "ada")
	if err != nil {
		t.Fatal(err)
	}
	second, err := k.Cancel(t.Context(), a.ID, "bob")
	if err != nil || second.Seq != first.Seq || second.CancelRequestedAt != first.CancelRequestedAt {
		t.Errorf("asked again: %+v, %v", second, err)
	}
	close(release) // it completes although it was asked to stop
}

func TestInvalid(t *testing.T) {
	k := newPeer(t)
	var invalid *kapi.InvalidError
	if err := k.Do(t.Context(), kapi.Spec{}, nil); !errors.As(err, &invalid) || invalid.Field != "title" {
		t.Errorf("no title: %v", err)
	}
	for _, options := range []peer.Options{
		{Lease: time.Millisecond},
		{Lease: -1},
		{GiveUp: -1},
		{Lease: time.Minute, GiveUp: time.Second},
		{StoreTimeout: -1},
	} {
		if _, err := peer.Open(t.Context(), newStore(t), options); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v", options, err)
		}
	}
	if k := openPeer(t, newStore(t), peer.Options{Lease: 10 * time.Minute}); k.Self().Lease != 10*time.Minute {
		t.Errorf("lease %v", k.Self().Lease)
	}
	for _, off := range []peer.Options{{Grace: -1}, {EndTimeout: -1}} {
		openPeer(t, newStore(t), off)
	}
}
