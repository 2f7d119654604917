package peer_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

func TestRemote(t *testing.T) {
	k := newPeer(t)
	r, err := k.StartRemote(t.Context(), peer.RemoteSpec{Spec: kapi.Spec{Title: "t", Keys: []string{"k"}, Host: "ci-7"}, Pending: true})
	if err != nil {
		t.Fatal(err)
	}
	if a := r.Action; a.Status != kapi.StatusPending || a.StartedAt != 0 || a.Runner.Host != "ci-7" || r.Fence != a.Seq || r.LeaseMS != 15000 {
		t.Errorf("started %+v", r)
	}
	report := func(rep kapi.Report) kapi.Action {
		t.Helper()
		rep.Fence = r.Fence
		a, err := k.Report(t.Context(), r.Action.ID, rep)
		if err != nil {
			t.Fatal(err)
		}
		return a.Action
	}
	if a := report(kapi.Report{Status: new(kapi.StatusRunning)}); a.Status != kapi.StatusRunning || a.StartedAt == 0 {
		t.Errorf("%+v", a)
	}
	first := report(kapi.Report{Progress: new(0.5), State: new("half")})
	if same := report(kapi.Report{}); same.Seq != first.Seq || *same.Progress != 0.5 {
		t.Errorf("after an empty report: %+v", same)
	}
	if a := report(kapi.Report{Progress: new(0.25)}); *a.Progress != 0.5 {
		t.Errorf("after a lower progress: %+v", a)
	}
	if a := report(kapi.Report{ResetProgress: true, State: new("")}); a.Progress != nil || a.State != "" {
		t.Errorf("reset: %+v", a)
	}
	_, err = k.Report(t.Context(), r.Action.ID, kapi.Report{Fence: r.Fence + 1, Progress: new(1.0)})
	wantError(t, err, kapi.ErrStaleFence)
	var invalid *kapi.InvalidError
	for _, rep := range []kapi.Report{
		{Progress: new(1.5)},
		{Status: new(kapi.StatusPending)},
		{Status: new(kapi.StatusAborted)},
		{ExitCode: new(1)},
		{ExitCode: new(1), Status: new(kapi.StatusImpacted)},
		{ExitCode: new(-1), Status: new(kapi.StatusFailed)},
		{ExitCode: new(1 << 32), Status: new(kapi.StatusFailed)},
	} {
		rep.Fence = r.Fence
		if _, err := k.Report(t.Context(), r.Action.ID, rep); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v", rep, err)
		}
	}
	for range 2 { // a final report may be repeated
		a := report(kapi.Report{Status: new(kapi.StatusCompleted), ExitCode: new(1<<32 - 1)})
		if a.Status != kapi.StatusCompleted || len(a.Keys) != 0 || *a.ExitCode != 1<<32-1 {
			t.Errorf("ended as %+v", a)
		}
	}
	_, err = k.Report(t.Context(), r.Action.ID, kapi.Report{Fence: r.Fence, Progress: new(1.0)})
	wantError(t, err, kapi.ErrUnknown)
}

// A start that is repeated with its Idempotency-Key starts once, whichever peer it is repeated at.
func TestRemoteRepeated(t *testing.T) {
	st := newStore(t)
	one, two := openPeer(t, st, peer.Options{}), openPeer(t, st, peer.Options{})
	spec := peer.RemoteSpec{
		Spec:   kapi.Spec{Title: "t", Keys: []string{"k"}, Host: "h"},
		Sender: "ada", IdempotencyKey: "x", Hash: []byte("h"),
	}
	first, err := one.StartRemote(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*peer.Peer{one, two} {
		again, err := k.StartRemote(t.Context(), spec)
		if err != nil || !reflect.DeepEqual(again, first) {
			t.Errorf("again: %+v, %v; want %+v", again, err, first)
		}
	}
	other := spec
	other.Hash = []byte("another")
	_, err = two.StartRemote(t.Context(), other)
	wantError(t, err, kapi.ErrOtherRequest)
	other.Sender = "bob"
	var held *kapi.HeldError
	if _, err = two.StartRemote(t.Context(), other); !errors.As(err, &held) {
		t.Errorf("another sender: %v", err)
	}
	if _, err := two.Report(t.Context(), first.Action.ID, kapi.Report{Fence: first.Fence, Status: new(kapi.StatusCompleted)}); err != nil {
		t.Fatal(err)
	}
	if again, err := one.StartRemote(t.Context(), spec); err != nil || again.Action.ID != first.Action.ID {
		t.Errorf("after its end: %+v, %v", again, err)
	}
}
