package peer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/proc"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// A cast is the peers of a scene. Each looks to the others as if it was on a machine of its own, so that nothing is
// known of its process, until it is killed.
type cast struct {
	*scene
	mu   sync.Mutex
	dead map[string]bool // runners whose process is gone
}

// playCast plays a scene with several peers.
func playCast(t *testing.T, f func(*testing.T, *cast)) {
	t.Helper()
	play(t, func(t *testing.T, s *scene) { f(t, &cast{scene: s, dead: map[string]bool{}}) })
}

// A member is a peer of a cast.
type member struct {
	*peer.Peer
	link *link
	cast *cast
}

// join opens a peer that offers operations.
func (c *cast) join(o peer.Options, offers ...kapi.Definition) *member {
	c.t.Helper()
	me := proc.Self()
	m := &member{cast: c, link: &link{Store: c.store}}
	m.link.disguise = func(r *store.RunnerRecord) { r.BootID = "0b5e8c1e-0000-4000-8000-000000000000" }
	m.link.alter = func(r *store.RunnerRecord) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.dead[r.ID] {
			r.BootID, r.StartTime = me.BootID, r.StartTime-1
		}
	}
	o.Operations = offers
	m.Peer = c.openPeer(m.link, o)
	return m
}

// kill makes the peer one whose process is gone: nothing that it does reaches the store.
func (m *member) kill() {
	m.link.cut()
	m.cast.mu.Lock()
	defer m.cast.mu.Unlock()
	m.cast.dead[m.Self().ID] = true
}

// begin starts the operation "copy".
func (m *member) begin(t testing.TB) kapi.Action {
	t.Helper()
	s, err := m.StartOperation(t.Context(), "copy", nil, kapi.StartOptions{By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	return s.Action
}

// A call is a call of an operation's Run, which the test ends.
type call struct {
	ctx context.Context
	kapi.OperationHandle
	end chan error
}

// calls returns the resumable operation "copy", whose calls of Run are sent to the channel.
func calls(change ...func(*kapi.Definition)) (kapi.Definition, chan *call) {
	all := make(chan *call, 100)
	d := kapi.Definition{
		Name: "copy", Title: "Copying", Resume: &kapi.Resume{},
		Keys: func(json.RawMessage) ([]string, error) { return []string{"disk"}, nil },
		Run: func(ctx context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
			c := &call{ctx, h, make(chan error, 1)}
			all <- c
			select {
			case err := <-c.end:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
	for _, f := range change {
		f(&d)
	}
	return d, all
}

// wantShown checks what a peer shows of an action.
func wantShown(t testing.TB, k *peer.Peer, id string, status kapi.Status, state string) kapi.Action {
	t.Helper()
	a, err := k.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != status || a.State != state {
		t.Errorf("the action is %v, %q; want %v, %q", a.Status, a.State, status, state)
	}
	return a
}

// done checks that an action has completed.
func done(t testing.TB, w *peer.Watch, id string) kapi.Action {
	t.Helper()
	return awaitNext(t, w, id, is(kapi.StatusCompleted))
}

func watch(t testing.TB, k *peer.Peer) *peer.Watch {
	t.Helper()
	w, err := k.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// within checks that something took less than a limit since a moment.
func within(t testing.TB, since time.Time, limit time.Duration, what string) {
	t.Helper()
	if took := time.Since(since); took > limit {
		t.Errorf("%s took %v, more than %v", what, took, limit)
	}
}

// aLook is how long it takes until a peer sees a change: of a store in memory nobody is told, so peers look each second.
const aLook = 1100 * time.Millisecond

// A place is how far an operation is.
type place struct{ N int }

func restored(t testing.TB, h kapi.OperationHandle) int {
	t.Helper()
	var at place
	found, err := h.Restore(&at)
	if err != nil {
		t.Error(err)
	}
	if !found {
		return -1
	}
	return at.N
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

var errBroken = fmt.Errorf("disk broken")
