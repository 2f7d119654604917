package peer_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/operation"
	"github.com/kettubot/kapi/peer"
)

// moveArgs are the arguments of the operation "move".
type moveArgs struct {
	From string `json:"from"`
	To   string `json:"to,omitempty"`
	Held string `json:"held,omitempty"` // a key
}

// move returns an operation that takes arguments. Run is untilStopped unless it is set.
func move(of operation.Of[moveArgs]) kapi.Definition {
	if of.Name = "move"; of.Run == nil {
		of.Run = func(ctx context.Context, h kapi.OperationHandle, _ moveArgs) error { return untilStopped(ctx, h) }
	}
	if of.Title == "" {
		of.Title = "Moving"
	}
	of.Keys = func(a moveArgs) ([]string, error) {
		if a.Held == "" {
			return nil, nil
		}
		return []string{a.Held}, nil
	}
	return operation.Define(of)
}

// A site is a store in a synctest bubble, with peers that offer operations, and others.
type site struct {
	*testing.T
	store *testStore
	began time.Time
}

// onSite plays a test in a bubble.
func onSite(t *testing.T, f func(*site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(&site{t, newStore(t), time.Now()}) })
}

func (s *site) clock() time.Duration { return time.Since(s.began) + time.Hour }

// light opens a light peer.
func (s *site) light(operations ...kapi.Definition) *peer.Peer {
	s.Helper()
	return openLight(s, s.store, peer.Options{Operations: operations}.WithClock(s.clock, s.clock))
}

// full opens a peer that follows all peers.
func (s *site) full(operations ...kapi.Definition) *peer.Peer {
	s.Helper()
	k := s.light(operations...)
	if err := k.Follow(s.Context()); err != nil {
		s.Fatal(err)
	}
	return k
}

// starters are the kinds of peers at which an operation can be started: one that offers it, and others.
var starters = map[string]func(s *site, d kapi.Definition) *peer.Peer{
	"offering": func(s *site, d kapi.Definition) *peer.Peer { return s.full(d) },
	"full": func(s *site, d kapi.Definition) *peer.Peer {
		s.full(d)
		return s.full()
	},
	"light": func(s *site, d kapi.Definition) *peer.Peer {
		s.full(d)
		return s.light()
	},
}

// everywhere plays a test once for each kind of starter.
func everywhere(t *testing.T, d kapi.Definition, f func(*site, *peer.Peer)) {
	t.Helper()
	for name, starter := range starters {
		t.Run(name, func(t *testing.T) {
			onSite(t, func(s *site) { f(s, starter(s, d)) })
		})
	}
}

// begin starts an operation and fails the test if that fails.
func (s *site) begin(k *peer.Peer, arguments string, o kapi.StartOptions) kapi.Action {
	s.Helper()
	started, err := k.StartOperation(s.Context(), "move", json.RawMessage(arguments), o)
	if err != nil {
		s.Fatal(err)
	}
	return started.Action
}

// refused starts an operation, and fails the test unless the error is as wanted.
func (s *site) refused(k *peer.Peer, arguments string, o kapi.StartOptions, want error) {
	s.Helper()
	started, err := k.StartOperation(s.Context(), "move", json.RawMessage(arguments), o)
	if !errors.Is(err, want) && !reflect.DeepEqual(err, want) {
		s.Errorf("move %s: started %+v, error %v, want %v", arguments, started, err, want)
	}
}

// actions returns the ongoing records in the store.
func (s *site) records() []store.Record {
	s.Helper()
	found, err := s.store.Snapshot(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return found.Records
}

// none fails the test if any action is ongoing.
func (s *site) none() {
	s.Helper()
	synctest.Wait()
	for _, r := range s.records() {
		s.Errorf("%s (%s) is ongoing: %s", r.Title, r.ID, r.State)
	}
}
