package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// testReadYourWrites: what one peer has acknowledged is immediately in the list of every other.
func testReadYourWrites(t *testing.T, b Backend) {
	peers := b.peers(t, 3)
	for i := range 15 {
		here, there := peers[i%3], peers[(i+1)%3]
		op := start(t, here, kapi.Spec{Title: fmt.Sprint("operation ", i)})
		if a := find(t, there, op.action.ID); a == nil || a.Status != kapi.StatusRunning {
			t.Errorf("after the start was acknowledged, another peer lists %+v", a)
		}
		if err := op.handle.Impacted("slow disk"); err != nil {
			t.Errorf("Impacted: %v", err)
		}
		if a := find(t, there, op.action.ID); a == nil || a.Status != kapi.StatusImpacted || a.State != "slow disk" {
			t.Errorf("after Impacted was acknowledged, another peer lists %+v", a)
		}
		if a, err := there.Get(within(t), op.action.ID); err != nil || a.Status != kapi.StatusImpacted {
			t.Errorf("after Impacted was acknowledged, Get at another peer: %+v, %v", a, err)
		}
		op.end(t, nil)
		if a := find(t, there, op.action.ID); a != nil {
			t.Errorf("after the end was acknowledged, another peer still lists %+v", a)
		}
		if _, err := there.Get(within(t), op.action.ID); !errors.Is(err, kapi.ErrUnknown) {
			t.Errorf("Get at another peer of an action that has ended: %v, want ErrUnknown", err)
		}
	}
}

// testWatchers: all watches, at any peer and begun at any time, end with the same picture, and get
// changes in ascending order of seq.
func testWatchers(t *testing.T, b Backend) {
	peers := b.peers(t, 3)
	left := start(t, peers[0], kapi.Spec{Title: "left over"})
	var watches []*peer.Watch
	watch := func() {
		for _, p := range peers {
			w, err := p.Watch(within(t))
			if err != nil {
				t.Fatalf("Watch: %v", err)
			}
			t.Cleanup(w.Close)
			watches = append(watches, w)
		}
	}
	watch()
	var all sync.WaitGroup
	for n := range 6 {
		all.Go(func() { churn(t, peers[n%3], n) })
	}
	watch()
	all.Wait()
	watch()
	left.handle.SetState("the last word")
	if err := left.handle.Impacted("for ever"); err != nil {
		t.Errorf("Impacted: %v", err)
	}
	final, err := peers[0].ListJSON(within(t))
	if err != nil {
		t.Fatalf("ListJSON: %v", err)
	}
	want := byID(t, list(t, peers[0]))
	for i, w := range watches {
		got := picture(t, w, final.Seq)
		for id := range want {
			if got[id] != want[id] {
				t.Errorf("watch %d, at peer %d, ends with\n\t%s\nbut the list has\n\t%s", i, i%3, got[id], want[id])
			}
			delete(got, id)
		}
		for _, a := range got {
			t.Errorf("watch %d, at peer %d, ends with an action that is not listed: %s", i, i%3, a)
		}
	}
	left.end(t, nil)
}

// churn starts and ends operations in every way, and leaves one failed.
func churn(t *testing.T, p *peer.Peer, n int) {
	for i := range 8 {
		err := p.Do(within(t), kapi.Spec{Title: fmt.Sprint(n, ".", i)}, func(_ context.Context, h kapi.Handle) error {
			h.SetProgress(0.5)
			h.SetState("half way")
			if err := h.Impacted("for a moment"); err != nil {
				return err
			}
			if err := h.Recovered(); err != nil {
				return err
			}
			if i == 3 {
				return errors.New("broken")
			}
			return nil
		})
		if (err != nil) != (i == 3) {
			t.Errorf("Do: %v", err)
		}
	}
}

// picture applies a watch's changes to its snapshot, up to seq.
func picture(t *testing.T, w *peer.Watch, seq uint64) map[string]string {
	t.Helper()
	all := byID(t, w.Snapshot)
	for last := w.Seq; last < seq; {
		a, err := w.Next(within(t))
		if err != nil {
			t.Errorf("Next at seq %d of %d: %v", last, seq, err)
			break
		}
		if a.Seq <= last {
			t.Errorf("a watch got seq %d, then %d", last, a.Seq)
		}
		last = a.Seq
		all[a.ID] = wire(t, a)
		if !a.Status.Ongoing() {
			delete(all, a.ID)
		}
	}
	return all
}

// testFailedHolders: a failed action keeps its keys until it is dismissed, which a start can do if
// asked to. An action that releases its keys on failure doesn't keep them.
func testFailedHolders(t *testing.T, b Backend) {
	peers := b.peers(t, 2)
	keys := []string{"a", "b"}
	failed := start(t, peers[0], kapi.Spec{Title: "fails", Keys: keys})
	failed.end(t, errors.New("disk on fire"))
	a := find(t, peers[1], failed.action.ID)
	if a == nil || a.Status != kapi.StatusFailed || a.State != "disk on fire" || !slices.Equal(a.Keys, keys) {
		t.Fatalf("a failed operation is listed as %+v; want it failed, with the reason and its keys", a)
	}
	var held *kapi.HeldError
	if _, err := begin(within(t), peers[1], kapi.Spec{Title: "refused", Keys: []string{"b"}}); !errors.As(err, &held) ||
		held.Holder.ID != a.ID || held.Holder.Status != kapi.StatusFailed || held.Holder.NotProvenDead {
		t.Errorf("a start with a key of a failed action: %v; want a refusal that names that action", err)
	}
	// If another key refuses it, a start dismisses nothing.
	blocker := start(t, peers[0], kapi.Spec{Title: "blocker", Keys: []string{"c"}})
	spec := kapi.Spec{Title: "next", Keys: []string{"a", "c"}, DismissFailed: true}
	if _, err := begin(within(t), peers[1], spec); !errors.As(err, &held) || held.Holder.ID != blocker.action.ID {
		t.Errorf("a start with the key of a running action: %v; want a refusal that names that action", err)
	}
	if find(t, peers[1], a.ID) == nil {
		t.Error("a refused start dismissed a failed action")
	}
	blocker.end(t, nil)
	next := start(t, peers[1], spec)
	dismissed := next.handle.Dismissed()
	if len(dismissed) != 1 || dismissed[0].ID != a.ID || dismissed[0].State != "disk on fire" {
		t.Errorf("a start that dismisses failed holders returned %+v, want %s and why it had failed", dismissed, a.ID)
	}
	if find(t, peers[0], a.ID) != nil {
		t.Error("the dismissed holder is listed")
	}
	next.end(t, nil)
	testReleased(t, peers)
}

func testReleased(t *testing.T, peers []*peer.Peer) {
	releases := start(t, peers[0], kapi.Spec{Title: "releases", Keys: []string{"r"}, ReleaseOnFailure: true})
	releases.end(t, errors.New("oh no"))
	if a := find(t, peers[1], releases.action.ID); a == nil || a.Status != kapi.StatusFailed || len(a.Keys) != 0 {
		t.Errorf("an operation that releases its keys failed and is listed as %+v, want it without keys", a)
	}
	if err := peers[1].Do(within(t), kapi.Spec{Title: "again", Keys: []string{"r"}}, nothing); err != nil {
		t.Errorf("a key released on failure is still held: %v", err)
	}
}

// testCancelElsewhere: a request to cancel reaches the operation whichever peer gets it.
func testCancelElsewhere(t *testing.T, b Backend) {
	peers := b.peers(t, 2)
	for _, p := range peers {
		op := start(t, peers[0], kapi.Spec{Title: "long", Keys: []string{"k"}})
		a, err := p.Cancel(within(t), op.action.ID, "Zoë")
		if err != nil || a.CancelRequestedAt == 0 || a.Status != kapi.StatusRunning {
			t.Fatalf("Cancel: %+v, %v; want it running, with the time of the request", a, err)
		}
		again, err := p.Cancel(within(t), op.action.ID, "Max")
		if err != nil || again.CancelRequestedAt != a.CancelRequestedAt || again.Seq != a.Seq {
			t.Errorf("a second Cancel: %+v, %v; want no change", again, err)
		}
		receive(t, op.ctx.Done(), "the operation's context to end")
		var cause *kapi.CancelledError
		if !errors.As(context.Cause(op.ctx), &cause) || cause.By != "Zoë" {
			t.Errorf("the operation's context ended with %v, want cancelled by Zoë", context.Cause(op.ctx))
		}
		op.end(t, context.Canceled)
		got := find(t, peers[1], op.action.ID)
		if got == nil || got.Status != kapi.StatusFailed || got.CancelledBy != "Zoë" || !strings.Contains(got.State, "cancelled by Zoë") {
			t.Errorf("a cancelled operation ended as %+v, want it failed, cancelled by Zoë", got)
		}
		var refusal *kapi.NotCancellableError
		if _, err := p.Cancel(within(t), op.action.ID, "Zoë"); !errors.As(err, &refusal) {
			t.Errorf("Cancel of a failed action: %v, want a *NotCancellableError", err)
		}
		if _, err := p.Dismiss(within(t), op.action.ID, "Zoë"); err != nil {
			t.Errorf("Dismiss: %v", err)
		}
		if _, err := p.Cancel(within(t), op.action.ID, "Zoë"); !errors.Is(err, kapi.ErrUnknown) {
			t.Errorf("Cancel of a disposed action: %v, want ErrUnknown", err)
		}
	}
}

func testDismissElsewhere(t *testing.T, b Backend) {
	peers := b.peers(t, 2)
	op := start(t, peers[0], kapi.Spec{Title: "fails", Keys: []string{"k"}})
	id := op.action.ID
	if _, err := peers[1].Dismiss(within(t), id, "Zoë"); !errors.Is(err, kapi.ErrNotFailed) {
		t.Errorf("Dismiss of a running action: %v, want ErrNotFailed", err)
	}
	op.end(t, errors.New("broken"))
	a, err := peers[1].Dismiss(within(t), id, "Zoë")
	if err != nil || a.Status != kapi.StatusAborted || a.ID != id {
		t.Errorf("Dismiss at another peer: %+v, %v; want the action as it ended", a, err)
	}
	for i, p := range peers {
		if _, err := p.Dismiss(within(t), id, "Zoë"); !errors.Is(err, kapi.ErrUnknown) {
			t.Errorf("a second Dismiss, at peer %d: %v, want ErrUnknown", i, err)
		}
		if find(t, p, id) != nil {
			t.Errorf("peer %d lists a dismissed action", i)
		}
	}
	if _, err := peers[1].Dismiss(within(t), "no such action", "Zoë"); !errors.Is(err, kapi.ErrUnknown) {
		t.Errorf("Dismiss of an id that never existed: %v, want ErrUnknown", err)
	}
}

// testCloseFails: a closing peer fails operations that don't stop within the grace period. Their keys
// stay held, and their late ends are not recorded and do no harm.
func testCloseFails(t *testing.T, b Backend) {
	open := b.New(t)
	other := openPeer(t, open())
	closing, err := peer.Open(within(t), open(), peer.Options{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Grace: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatalf("peer.Open: %v", err)
	}
	op := start(t, closing, kapi.Spec{Title: "stubborn", Keys: []string{"k"}, ReleaseOnFailure: true})
	if err := closing.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if cause := context.Cause(op.ctx); !errors.Is(cause, kapi.ErrStopped) {
		t.Errorf("the operation's context ended with %v, want ErrStopped", cause)
	}
	a := find(t, other, op.action.ID)
	if a == nil || a.Status != kapi.StatusFailed || !strings.HasPrefix(a.State, kapi.ErrStopped.Error()) || !a.NotProvenDead || !slices.Equal(a.Keys, []string{"k"}) {
		t.Errorf("the operation that did not stop is listed as %+v; want it failed with %q, holding its key", a, kapi.ErrStopped)
	}
	_, err = begin(within(t), other, kapi.Spec{Title: "next", Keys: []string{"k"}, DismissFailed: true})
	var held *kapi.HeldError
	if !errors.As(err, &held) || !held.Holder.NotProvenDead {
		t.Errorf("a start with the key of an action not proven dead: %v; want it refused as such", err)
	}
	op.finish <- nil
	receive(t, op.done, "the stubborn operation to return")
	if _, err := closing.Start(within(t), kapi.Spec{Title: "late"}, nothing); !errors.Is(err, kapi.ErrClosed) {
		t.Errorf("Start after Close: %v, want ErrClosed", err)
	}
}
