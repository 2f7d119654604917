package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kettubot/kapi"
)

// A guarded key is what an outside system knows of a key: who works on it now, and the highest fence it
// was shown.
type guarded struct {
	worker atomic.Int64
	fence  atomic.Uint64
}

// testOnce starts operations with overlapping keys at all peers at once. No key may have two holders at
// a time, and its fence must grow from one holder to the next.
func testOnce(t *testing.T, b Backend) {
	const starters, starts = 9, 12
	peers := b.peers(t, 3)
	names := []string{"a", "b", "c", "d"}
	world := make(map[string]*guarded, len(names))
	for _, name := range names {
		world[name] = &guarded{}
	}
	var ran, refused atomic.Int64
	var all sync.WaitGroup
	for n := range starters {
		p := peers[n%len(peers)]
		random := rand.New(rand.NewPCG(1, uint64(n))) //nolint:gosec // repeatable
		all.Go(func() {
			for range starts {
				keys := pick(random, names)
				me := ran.Add(1)
				err := p.Do(within(t), kapi.Spec{Title: "once", Keys: keys}, func(_ context.Context, h kapi.Handle) error {
					work(t, world, keys, me, h.Fence())
					return nil
				})
				var held *kapi.HeldError
				switch {
				case err == nil:
				case errors.As(err, &held):
					ran.Add(-1)
					refused.Add(1)
					checkRefusal(t, held, keys)
				default:
					t.Errorf("Do: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	if ran.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d operations ran and %d were refused: the starts did not compete", ran.Load(), refused.Load())
	}
	for i, p := range peers {
		if left := list(t, p); len(left) != 0 {
			t.Errorf("all operations have ended, but peer %d lists %v", i, left)
		}
	}
}

// pick returns one or more keys, in any order.
func pick(random *rand.Rand, names []string) []string {
	keys := slices.Clone(names)
	random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return keys[:1+random.IntN(len(keys)-1)]
}

// work is an operation that checks that nobody else works on its keys.
func work(t *testing.T, world map[string]*guarded, keys []string, me int64, fence uint64) {
	for _, key := range keys {
		if other := world[key].worker.Swap(me); other != 0 {
			t.Errorf("key %q has two holders at once", key)
		}
		if before := world[key].fence.Swap(fence); before >= fence {
			t.Errorf("key %q: the fence went from %d to %d; it must grow from one holder to the next", key, before, fence)
		}
	}
	for range 50 {
		runtime.Gosched()
	}
	for _, key := range keys {
		if other := world[key].worker.Swap(0); other != me {
			t.Errorf("key %q has two holders at once", key)
		}
	}
}

func checkRefusal(t *testing.T, held *kapi.HeldError, keys []string) {
	h := held.Holder
	if !slices.Contains(keys, held.Key) {
		t.Errorf("a start with keys %v was refused for the key %q", keys, held.Key)
	}
	if h.ID == "" || h.Title == "" || !slices.Contains(h.Keys, held.Key) || !h.Status.Ongoing() ||
		h.Runner == nil || h.Runner.HeardAt == 0 {
		t.Errorf("a refusal for key %q must have the complete holder; got %+v", held.Key, h)
	}
}

// testAllOrNone: a start that is refused for one key holds none of its other keys.
func testAllOrNone(t *testing.T, b Backend) {
	peers := b.peers(t, 2)
	holder := start(t, peers[0], kapi.Spec{Title: "holder", Keys: []string{"m"}})
	for _, keys := range [][]string{{"a", "m"}, {"m", "z"}, {"a", "m", "z"}} {
		_, err := peers[1].Start(within(t), kapi.Spec{Title: "refused", Keys: keys}, nothing)
		var held *kapi.HeldError
		if !errors.As(err, &held) {
			t.Fatalf("Start with keys %v, of which m is held: %v, want a *HeldError", keys, err)
		}
		if held.Key != "m" || held.Holder.ID != holder.action.ID || held.Holder.NotProvenDead {
			t.Errorf("the refusal names key %q, holder %s, not proven dead %v; want m, %s, false",
				held.Key, held.Holder.ID, held.Holder.NotProvenDead, holder.action.ID)
		}
	}
	if n := len(list(t, peers[1])); n != 1 {
		t.Errorf("%d actions are listed after refused starts, want only the holder", n)
	}
	if err := peers[1].Do(within(t), kapi.Spec{Title: "next", Keys: []string{"a", "z"}}, nothing); err != nil {
		t.Errorf("keys of refused starts are held: %v", err)
	}
	holder.end(t, nil)
	if err := peers[1].Do(within(t), kapi.Spec{Title: "after", Keys: []string{"m"}}, nothing); err != nil {
		t.Errorf("the key is held after its holder's end: %v", err)
	}
}

func nothing(context.Context, kapi.Handle) error { return nil }
