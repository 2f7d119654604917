package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/backoff"
	"github.com/kettubot/kapi/internal/fault"
	"github.com/kettubot/kapi/internal/wire"
)

const (
	// The pause before reconnecting grows from firstPause to lastPause.
	firstPause = 200 * time.Millisecond
	lastPause  = 10 * time.Second
)

// A Watch returns the changes since a snapshot. When the connection is lost, it reconnects and resumes
// by itself, without a limit of time.
//
// Next must not be called concurrently. Close may be called at any time.
type Watch struct {
	// Snapshot has the ongoing actions at the start of the watch, oldest first.
	Snapshot []kapi.Action

	client  *Client
	cancel  context.CancelFunc
	served  sync.WaitGroup
	updates chan kapi.Action
	ended   chan struct{}
	err     error // must be read only after ended is closed

	session string
	seq     uint64
	heard   bool // a dispatch came on the current connection, so it works
	// known has the seq of each action of the snapshot, as the gateway may send the same changes.
	known map[string]uint64
}

// Watch begins to watch all actions. The caller must close the watch.
func (c *Client) Watch(ctx context.Context) (*Watch, error) {
	return c.watch(ctx, func(w *Watch) (err error) {
		if w.Snapshot, err = c.List(ctx); err != nil {
			return err
		}
		for _, a := range w.Snapshot {
			w.known[a.ID] = a.Seq
		}
		return nil
	})
}

// watch connects, calls first, and then serves the watch. No change after the connection is missed.
func (c *Client) watch(ctx context.Context, first func(*Watch) error) (*Watch, error) {
	w := &Watch{client: c, updates: make(chan kapi.Action), ended: make(chan struct{}), known: map[string]uint64{}}
	conn, err := w.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := first(w); err != nil {
		conn.end()
		return nil, err
	}
	running, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.served.Go(func() {
		defer close(w.ended)
		fault.From(ctx).Keep(func() {
			first := conn
			if conn = nil; first == nil { // called again after a panic, which closed the connection
				w.err = unavailable("the connection to server %s was given up", c.base)
			}
			w.serve(running, first)
		})
	})
	return w, nil
}

// Next waits for the next change and returns the action after it. It returns the cause when ctx ends,
// kapi.ErrGap when changes were missed that can't be recovered (start a new Watch then), kapi.ErrClosed
// after Close, and auth.ErrInvalidToken or auth.ErrForbidden when the server no longer accepts the token.
func (w *Watch) Next(ctx context.Context) (kapi.Action, error) {
	select {
	case a := <-w.updates:
		return a, nil
	case <-w.ended:
		return kapi.Action{}, w.err
	case <-ctx.Done():
		return kapi.Action{}, context.Cause(ctx)
	}
}

// Close ends the watch; a waiting Next returns kapi.ErrClosed.
func (w *Watch) Close() {
	w.cancel()
	w.served.Wait()
}

// serve passes on updates, from one connection after the other.
func (w *Watch) serve(ctx context.Context, conn *connection) {
	pauses := backoff.New(firstPause, lastPause)
	for {
		if conn != nil {
			w.heard = false
			if w.err = w.follow(ctx, conn); w.heard {
				pauses.Reset()
			}
		}
		if ctx.Err() != nil {
			w.err = kapi.ErrClosed
			return
		}
		if !errors.Is(w.err, kapi.ErrUnavailable) {
			return
		}
		pause := pauses.Next()
		select {
		case <-time.After(pause/2 + rand.N(pause)): // so that clients don't reconnect all at once
		case <-ctx.Done():
			w.err = kapi.ErrClosed
			return
		}
		conn, w.err = w.connect(ctx)
	}
}

// follow passes on the updates of a connection until it ends.
func (w *Watch) follow(ctx context.Context, conn *connection) error {
	stop := context.AfterFunc(ctx, conn.end)
	defer stop()
	defer conn.end()
	for {
		m, err := conn.read()
		if err != nil {
			return err
		}
		w.heard = w.heard || m.T != ""
		if m.T != wire.TypeUpdate {
			continue
		}
		var a kapi.Action
		if err := json.Unmarshal(m.D, &a); err != nil {
			return fmt.Errorf("an update is not an action: %w", err)
		}
		if a.Seq > w.known[a.ID] {
			conn.busy.Store(true)
			select {
			case w.updates <- a:
			case <-ctx.Done():
				return kapi.ErrClosed
			}
			conn.busy.Store(false)
		}
		if a.Seq >= w.known[a.ID] {
			delete(w.known, a.ID)
		}
		w.seq = m.S
	}
}
