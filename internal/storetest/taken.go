package storetest

import (
	"errors"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

func testKeyTaken(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	mustCommit(t, stores[0], batch{insert: []store.Record{bare("a")}, claim: []store.Claim{{Key: "held", Action: "a"}}})
	before := feed(t, stores[0], 0)
	runner := runnerRecord("r")
	for what, claims := range map[string][]store.Claim{
		"a held key":               {{Key: "free", Action: "b"}, {Key: "held", Action: "b"}, {Key: "free too", Action: "b"}},
		"one key twice in a batch": {{Key: "free", Action: "b"}, {Key: "free too", Action: "b"}, {Key: "free", Action: "c"}},
	} {
		_, err := commit(within(t), stores[1], batch{
			insert: []store.Record{bare("b"), bare("c")}, update: []store.Record{full("a")}, claim: claims, runner: &runner,
		})
		if !errors.Is(err, store.ErrKeyTaken) {
			t.Errorf("claiming %s: error %v, want ErrKeyTaken", what, err)
		}
		if errors.Is(err, kapi.ErrUnavailable) {
			t.Errorf("claiming %s: %v wraps ErrUnavailable", what, err)
		}
	}
	unchanged(t, stores[0], before, "free", "free too")
	// Keys that differ in any byte are different.
	for i, key := range []string{"Held", "hel", "held\u0301", "HELD", "h\u00e9", "he\u0301"} {
		claim := []store.Claim{{Key: key, Action: "d"}}
		if _, err := commit(within(t), stores[i%2], batch{insert: []store.Record{bare("d" + key)}, claim: claim}); err != nil {
			t.Errorf("claiming %q beside %q: %v", key, "held", err)
		}
	}
}

func testIDTaken(t *testing.T, b Backend) {
	s := b.handles(t, 1)[0]
	insert(t, s, bare("a"))
	before := feed(t, s, 0)
	runner := runnerRecord("r")
	_, err := commit(within(t), s, batch{
		insert: []store.Record{bare("b"), bare("a")}, claim: []store.Claim{{Key: "k", Action: "b"}}, runner: &runner,
	})
	if err == nil || errors.Is(err, store.ErrKeyTaken) {
		t.Errorf("inserting an id that already exists: error %v, want an error other than ErrKeyTaken", err)
	}
	unchanged(t, s, before, "k")
}

func testFreeAndClaim(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	first := mustCommit(t, stores[0], batch{
		insert: []store.Record{bare("a")}, claim: []store.Claim{{Key: "k", Action: "a"}, {Key: "l", Action: "a"}},
	})
	mustCommit(t, stores[1], batch{
		insert: []store.Record{bare("b")}, update: []store.Record{ended(first[0], kapi.StatusCompleted, 2)},
		free: []string{"k", "l"}, claim: []store.Claim{{Key: "k", Action: "b"}},
	})
	claim := func(key string) error {
		_, err := commit(within(t), stores[0], batch{
			insert: []store.Record{bare("wants " + key)}, claim: []store.Claim{{Key: key, Action: "wants " + key}},
		})
		return err
	}
	if err := claim("k"); !errors.Is(err, store.ErrKeyTaken) {
		t.Errorf("the key went from a to b in one batch; claiming it again: error %v, want ErrKeyTaken", err)
	}
	if err := claim("l"); err != nil {
		t.Errorf("a key that was freed can't be claimed: %v", err)
	}
	// Freeing a key that nobody holds is not an error.
	mustCommit(t, stores[0], batch{insert: []store.Record{bare("c")}, free: []string{"never held"}})
}
