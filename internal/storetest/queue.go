package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// A queued is an action that waits for its keys.
type queued struct {
	id    string
	began chan kapi.Handle
	end   chan error
	done  chan error
}

// queue starts an operation that must wait, and returns once it is listed.
func queue(t tb, ctx context.Context, p *peer.Peer, spec kapi.Spec) *queued {
	t.Helper()
	q := &queued{began: make(chan kapi.Handle, 1), end: make(chan error, 1), done: make(chan error, 1)}
	if spec.Wait == 0 {
		spec.Wait = -1
	}
	t.Cleanup(func() { // a failed case must not wait for it
		select {
		case q.end <- errors.New("the case is over"):
		default:
		}
	})
	before := list(t, p)
	go func() {
		q.done <- p.Do(ctx, spec, func(_ context.Context, h kapi.Handle) error {
			q.began <- h
			return <-q.end
		})
	}()
	for end := time.Now().Add(deadline); q.id == ""; time.Sleep(time.Millisecond) {
		for _, a := range list(t, p) {
			if a.Title == spec.Title && !slices.ContainsFunc(before, func(b kapi.Action) bool { return b.ID == a.ID }) {
				q.id = a.ID
			}
		}
		if time.Now().After(end) {
			t.Fatalf("%q is not on the list", spec.Title)
		}
	}
	return q
}

// testQueue: waiting starts get the key in turn, from whichever peer, and later starts don't overtake.
func testQueue(t *testing.T, b Backend) {
	peers := b.peers(t, 3)
	holder := start(t, peers[0], kapi.Spec{Title: "holder", Keys: []string{"k"}})
	var waiters []*queued
	for i, title := range []string{"first", "second", "third"} {
		q := queue(t, within(t), peers[i], kapi.Spec{Title: title, Keys: []string{"k", title}})
		a := find(t, peers[(i+1)%3], q.id)
		if a == nil || a.Status != kapi.StatusPending || len(a.Keys) != 0 || a.StartedAt != 0 ||
			a.WaitsFor == nil || *a.WaitsFor != (kapi.WaitsFor{Key: "k", Action: holder.action.ID, Title: "holder"}) {
			t.Fatalf("the waiting action is listed as %+v", a)
		}
		waiters = append(waiters, q)
	}
	var held *kapi.HeldError
	if _, err := begin(within(t), peers[1], kapi.Spec{Title: "late", Keys: []string{"second"}}); !errors.As(err, &held) || held.Holder.ID != waiters[1].id {
		t.Errorf("a start with a key that a waiting action wants: %v", err)
	}
	fence := holder.handle.Fence()
	holder.end(t, nil)
	for i, q := range waiters {
		h := receive(t, q.began, "its turn")
		if h.Fence() <= fence {
			t.Errorf("the fence went from %d to %d", fence, h.Fence())
		}
		fence = h.Fence()
		a := find(t, peers[(i+2)%3], q.id)
		if a == nil || a.Status != kapi.StatusRunning || !slices.Contains(a.Keys, "k") || a.State != "" || a.WaitsFor != nil {
			t.Errorf("the action that got its turn is listed as %+v", a)
		}
		for _, later := range waiters[i+1:] {
			if len(later.began) != 0 {
				t.Error("a later start overtook")
			}
			if a := find(t, peers[(i+1)%3], later.id); a == nil || a.WaitsFor == nil || a.WaitsFor.Action != q.id {
				t.Errorf("a later action is listed as %+v, want it to wait for %s", a, q.id)
			}
		}
		h.SetProgress(0.5)
		q.end <- nil
		if err := receive(t, q.done, "the end"); err != nil {
			t.Error(err)
		}
	}
	testQueueExcludes(t, peers)
}

// testQueueExcludes lets many starts wait for overlapping keys: all get their turn, and no two hold a
// key at once.
func testQueueExcludes(t *testing.T, peers []*peer.Peer) {
	names := []string{"a", "b", "c"}
	world := make(map[string]*guarded, len(names))
	for _, name := range names {
		world[name] = &guarded{}
	}
	var all sync.WaitGroup
	for n := range 24 {
		random := rand.New(rand.NewPCG(2, uint64(n))) //nolint:gosec // repeatable
		all.Go(func() {
			keys := pick(random, names)
			err := peers[n%len(peers)].Do(within(t), kapi.Spec{Title: "all", Keys: keys, Wait: -1}, func(_ context.Context, h kapi.Handle) error {
				work(t, world, keys, int64(n+1), h.Fence())
				return nil
			})
			if err != nil {
				t.Errorf("Do with Wait: %v", err)
			}
		})
	}
	all.Wait()
	if left := list(t, peers[0]); len(left) != 0 {
		t.Errorf("%d actions are left", len(left))
	}
}

// testLeaveQueue: a start that gives up, or is cancelled, leaves nothing behind.
func testLeaveQueue(t *testing.T, b Backend) {
	peers := b.peers(t, 2)
	holder := start(t, peers[0], kapi.Spec{Title: "holder", Keys: []string{"k"}})
	spec := kapi.Spec{Title: "waits", Keys: []string{"k"}}

	ctx, leave := context.WithCancelCause(within(t))
	q := queue(t, ctx, peers[1], spec)
	tired := errors.New("tired")
	leave(tired)
	if err := receive(t, q.done, "the start whose caller left"); !errors.Is(err, tired) {
		t.Errorf("the start whose caller left: %v", err)
	}

	q = queue(t, within(t), peers[1], spec)
	if _, err := peers[0].Cancel(within(t), q.id, "Zoë"); err != nil {
		t.Error(err)
	}
	var cancelled *kapi.CancelledError
	if err := receive(t, q.done, "the cancelled start"); !errors.As(err, &cancelled) || cancelled.By != "Zoë" {
		t.Errorf("the cancelled start: %v", err)
	}

	limited := spec
	limited.Wait = 50 * time.Millisecond
	var held *kapi.HeldError
	err := peers[1].Do(within(t), limited, nothing)
	if !errors.As(err, &held) || held.Holder.ID != holder.action.ID || held.Waited != limited.Wait {
		t.Errorf("the start whose Wait was over: %v", err)
	}
	if all := list(t, peers[0]); len(all) != 1 {
		t.Errorf("%+v are left, want only the holder", all)
	}
	testQueueRefuses(t, peers, holder)

	testQueueBehindFailed(t, peers, holder)
}

// testQueueBehindFailed: a failed holder keeps waiting actions waiting until it is dismissed.
func testQueueBehindFailed(t *testing.T, peers []*peer.Peer, holder *operation) {
	q := queue(t, within(t), peers[1], kapi.Spec{Title: "waits", Keys: []string{"k"}})
	holder.end(t, errors.New("broken"))
	for end := time.Now().Add(deadline); ; time.Sleep(time.Millisecond) {
		if a := find(t, peers[1], holder.action.ID); a != nil && a.Status == kapi.StatusFailed {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the holder has not failed")
		}
	}
	wantWait := kapi.WaitsFor{Key: "k", Action: holder.action.ID, Title: "holder"}
	if a := find(t, peers[1], q.id); a == nil || a.WaitsFor == nil || *a.WaitsFor != wantWait || len(q.began) != 0 {
		t.Errorf("the action that waits for a failed one is listed as %+v", a)
	}
	if _, err := peers[0].Dismiss(within(t), holder.action.ID, "Zoë"); err != nil {
		t.Error(err)
	}
	receive(t, q.began, "its turn")
	q.end <- nil
	if err := receive(t, q.done, "the end"); err != nil {
		t.Error(err)
	}
}

// testQueueRefuses: a start that would wait for itself is refused in spite of Wait. One that waits
// behind another start, for a free key, learns which when its time is over.
func testQueueRefuses(t *testing.T, peers []*peer.Peer, holder *operation) {
	both := queue(t, within(t), peers[0], kapi.Spec{Title: "both", Keys: []string{"free", "k"}})
	var held *kapi.HeldError
	for _, key := range []string{"k", "free"} {
		inner := kapi.Spec{Title: "inner", Keys: []string{key}, Wait: -1, Within: []string{holder.action.ID}}
		err := peers[1].Do(within(t), inner, nothing)
		if !errors.As(err, &held) || held.Key != key || !held.Circular || held.Waiting() != (key == "free") {
			t.Errorf("a start that would wait for itself because of key %s: %v", key, err)
		}
	}
	err := peers[1].Do(within(t), kapi.Spec{Title: "limited", Keys: []string{"free"}, Wait: 50 * time.Millisecond}, nothing)
	if !errors.As(err, &held) || held.Holder.ID != both.id || !held.Waiting() || held.Waited == 0 || held.Circular {
		t.Errorf("the start whose Wait was over behind another: %v", err)
	}
	if _, err := peers[1].Cancel(within(t), both.id, "Zoë"); err != nil {
		t.Error(err)
	}
	receive(t, both.done, "the cancelled start")
}

// testQueueInOrder: many starts from every peer wait for one key while others try to start with it. All
// get their turn in the order in which they came, nobody gets in between, and a watch sees one holder
// at a time.
func testQueueInOrder(t *testing.T, b Backend) {
	const many = 30
	peers := b.peers(t, 3)
	holder := start(t, peers[0], kapi.Spec{Title: "holder", Keys: []string{"k"}})
	var waiters []*queued
	for i := range many {
		waiters = append(waiters, queue(t, within(t), peers[i%3], kapi.Spec{Title: fmt.Sprint("waiter ", i), Keys: []string{"k"}}))
	}
	watch, err := peers[1].Watch(within(t))
	if err != nil {
		t.Fatalf("Watch: %v", err)
	}
	var others sync.WaitGroup
	over, end := context.WithCancel(within(t))
	defer others.Wait()
	defer end()
	others.Go(func() { watchHolders(t, over, watch, "k", holder.action.ID) })
	got := make(chan uint64, 1) // the fence of the first late start that gets the key
	for _, p := range peers {
		others.Go(func() {
			for over.Err() == nil {
				op, err := begin(over, p, kapi.Spec{Title: "late", Keys: []string{"k"}})
				if err != nil {
					continue
				}
				select {
				case got <- op.handle.Fence():
				default:
				}
				op.finish <- nil
				<-op.done
			}
		})
	}
	holder.end(t, nil)
	last := uint64(0)
	for i, q := range waiters {
		h := receive(t, q.began, fmt.Sprint("the turn of ", i))
		if h.Fence() <= last {
			t.Errorf("the fence went from %d to %d", last, h.Fence())
		}
		last = h.Fence()
		q.end <- nil
		if err := receive(t, q.done, "the end"); err != nil {
			t.Error(err)
		}
	}
	if fence := receive(t, got, "the turn of a late start"); fence < last {
		t.Errorf("a late start overtook: its fence is %d, the last waiter's %d", fence, last)
	}
}

// watchHolders checks that a watch shows at most one holder of a key at a time, until ctx ends.
func watchHolders(t *testing.T, ctx context.Context, w *peer.Watch, key, holder string) {
	defer w.Close()
	for last := uint64(0); ; {
		a, err := w.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("Watch.Next: %v", err)
			}
			return
		}
		if a.Seq <= last {
			t.Errorf("got seq %d after %d", a.Seq, last)
		}
		last = a.Seq
		switch holds := slices.Contains(a.Keys, key); {
		case holds && holder != "" && holder != a.ID:
			t.Errorf("%s is shown to hold the key that %s holds", a.ID, holder)
		case holds:
			holder = a.ID
		case holder == a.ID:
			holder = ""
		}
	}
}
