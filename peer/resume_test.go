package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// Resume first delivers the newest state of each action that changed meanwhile, including endings, and then the new
// changes.
func TestResume(t *testing.T) {
	st := newStore(t)
	one, two := openPeer(t, st, peer.Options{}), openPeer(t, st, peer.Options{})
	w, err := one.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	long := start(t, one, kapi.Spec{}, untilStopped)
	failed := fail(t, one, kapi.Spec{}, "boom")
	if err := one.Do(t.Context(), kapi.Spec{Title: "t"}, func(_ context.Context, h kapi.Handle) error { return h.Impacted("x") }); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*peer.Peer{one, two} {
		r, err := k.Resume(t.Context(), w.Epoch, w.Seq)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var last uint64
		for _, want := range []kapi.Status{kapi.StatusRunning, kapi.StatusFailed, kapi.StatusCompleted} {
			d, err := r.NextDispatch(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				Op *int        `json:"op"`
				T  string      `json:"t"`
				S  uint64      `json:"s"`
				D  kapi.Action `json:"d"`
			}
			if err := json.Unmarshal(d.JSON, &got); err != nil {
				t.Fatal(err)
			}
			if *got.Op != 0 || got.T != "KAPI_ACTION_UPDATE" || got.S != d.Seq || got.D.Seq != d.Seq || got.D.Status != want || d.Seq <= last {
				t.Errorf("told %s after %d, want status %v", d.JSON, last, want)
			}
			last = d.Seq
		}
		if r.Seq != last {
			t.Errorf("the head was %d, the last %d", r.Seq, last)
		}
		defer func() {
			if a, err := r.Next(context.Background()); err != nil || a.ID != failed.ID || a.Status != kapi.StatusAborted {
				t.Errorf("after the replay: %+v, %v", a, err)
			}
		}()
	}
	if _, err := two.Dismiss(t.Context(), failed.ID, "ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Get(t.Context(), long.ID); err != nil { // both have seen it
		t.Fatal(err)
	}
}

func TestResumeRefused(t *testing.T) {
	st := newStore(t)
	k := openPeer(t, st, peer.Options{})
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_, err = k.Resume(t.Context(), "another", w.Seq)
	wantError(t, err, kapi.ErrGap)
	_, err = k.Resume(t.Context(), w.Epoch, w.Seq+1)
	wantError(t, err, kapi.ErrAhead)
	fail(t, k, kapi.Spec{}, "x")
	st.failing(store.ErrBehind, "Feed")
	_, err = k.Resume(t.Context(), w.Epoch, w.Seq)
	if !errors.Is(err, kapi.ErrGap) {
		t.Errorf("purged meanwhile: %v", err)
	}
}
