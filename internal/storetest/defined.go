package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// offering opens a peer that offers an operation.
func offering(t tb, s store.Store, d kapi.Definition) *peer.Peer {
	t.Helper()
	p, err := peer.Open(within(t), s, peer.Options{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Grace: deadline, StoreTimeout: deadline,
		Operations: []kapi.Definition{d},
	})
	if err != nil {
		t.Fatalf("peer.Open: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close of a peer: %v", err)
		}
	})
	return p
}

// counting is an operation with a key that adds one to its checkpoint, and fails if that makes it odd.
func counting(ran func(id string, count int)) kapi.Definition {
	return kapi.Definition{
		Name: "count", Title: "Counting", Limit: 3,
		Schema: json.RawMessage(`{"type":"object"}`),
		Check: func(given json.RawMessage) (json.RawMessage, []kapi.FieldError) {
			var a struct{ Key string }
			if err := json.Unmarshal(given, &a); err != nil || a.Key == "" {
				return nil, []kapi.FieldError{{Field: "key", Reason: "is missing"}}
			}
			return given, nil
		},
		Keys: func(given json.RawMessage) ([]string, error) {
			var a struct{ Key string }
			err := json.Unmarshal(given, &a)
			return []string{a.Key}, err
		},
		Run: func(_ context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
			var n int
			if _, err := h.Restore(&n); err != nil {
				return err
			}
			n++
			ran(h.ID(), n)
			if err := h.Checkpoint(n); err != nil || n%2 == 0 {
				return err
			}
			return errors.New("odd")
		},
	}
}

// Operations that are started at peers that don't offer them are claimed, each once; what they leave when they fail is
// continued by other peers.
func testOperations(t *testing.T, b Backend) {
	var mu sync.Mutex
	counts := map[string][]int{}
	d := counting(func(id string, n int) {
		mu.Lock()
		defer mu.Unlock()
		counts[id] = append(counts[id], n)
	})
	starter, all := b.startersOf(t, d)
	began := time.Now()
	failed := make([]kapi.Action, 12)
	var starts sync.WaitGroup
	for i := range failed {
		starts.Go(func() {
			started, err := starter.StartOperation(within(t), "count", fmt.Appendf(nil, `{"Key":"key-%d"}`, i), kapi.StartOptions{Wait: -1})
			if err != nil {
				t.Errorf("start %d: %v", i, err)
			}
			failed[i] = started.Action
		})
	}
	starts.Wait()
	t.Logf("%d operations were taken on in %v", len(failed), time.Since(began))
	for i := range failed {
		eventually(t, "the failure of an operation", func() bool {
			a := find(t, starter, failed[i].ID)
			return a != nil && a.Status == kapi.StatusFailed && len(a.Keys) == 1
		})
		next, err := all[i%len(all)].StartOperation(within(t), "count", nil, kapi.StartOptions{Continue: failed[i].ID, Wait: -1})
		if err != nil {
			t.Fatalf("continue: %v", err)
		}
		eventually(t, "the end of a continuation", func() bool {
			return find(t, starter, next.Action.ID) == nil && find(t, starter, failed[i].ID) == nil
		})
		mu.Lock()
		if got := fmt.Sprint(counts[failed[i].ID], counts[next.Action.ID]); got != "[1] [2]" {
			t.Errorf("an action and its continuation counted %s", got)
		}
		mu.Unlock()
	}
	var wrong *kapi.ArgumentsError
	if _, err := starter.StartOperation(within(t), "count", nil, kapi.StartOptions{}); !errors.As(err, &wrong) || wrong.Fields[0].Field != "key" {
		t.Errorf("a start without its argument: %v", err)
	}
}

// startersOf opens two peers that offer an operation, and one that doesn't. For a Single backend they are one.
func (b Backend) startersOf(t testing.TB, d kapi.Definition) (starter *peer.Peer, all []*peer.Peer) {
	t.Helper()
	open := b.New(t)
	first := offering(t, open(), d)
	if b.Single {
		return first, []*peer.Peer{first}
	}
	starter = openPeer(t, open())
	return starter, []*peer.Peer{first, starter, offering(t, open(), d)}
}

func eventually(t tb, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(deadline); !is(); {
		if time.Now().After(limit) {
			t.Fatalf("waited %v for %s", deadline, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
