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
	// The pause before a connection is tried again grows from the first to the last.
	firstPause = 200 * time.Millisecond
	lastPause  = 10 * time.Second
)

// A Watch tells of changes from a snapshot on. When the connection is lost it reconnects and
// resumes by itself, for as long as it takes.
//
// Next may be called by one goroutine at a time, Close by any.
type Watch struct {
	// Snapshot has the ongoing actions at the start of the watch, oldest first.
	Snapshot []kapi.Action

	client  *Client
	cancel  context.CancelFunc
	served  sync.WaitGroup
	updates chan kapi.Action
	ended   chan struct{}
	err     error // to be read after ended

	session string
	seq     uint64
	heard   bool // something came on the newest connection, so that it is a good one
	// known is the seq of each action of the snapshot: the gateway may tell of it again.
	known map[string]uint64
}

// Watch begins to watch all actions. The caller must Close the watch.
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

// watch begins a watch that begins with what first does once it is connected: what changes
// from then on is not missed.
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
			if conn = nil; first == nil { // entered again: that one is ended
				w.err = unavailable("the connection to server %s was given up", c.base)
			}
			w.serve(running, first)
		})
	})
	return w, nil
}

// Next waits for the next change and returns the action after it. It fails when ctx ends,
// with kapi.ErrGap when changes were missed for good (take a new Watch then), with kapi.ErrClosed
// after Close, and when the server will not have the token any more.
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

// serve passes updates on, over one connection after the other.
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
		case <-time.After(pause/2 + rand.N(pause)): // so that not all come back at once
		case <-ctx.Done():
			w.err = kapi.ErrClosed
			return
		}
		conn, w.err = w.connect(ctx)
	}
}

// follow reads a connection to its end.
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
			return fmt.Errorf("an update is no action: %w", err)
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
