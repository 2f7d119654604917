package storetest

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/store"
)

// testAnswers: the answer to a request is found by its sender and key, at every handle, and only if its
// transaction was kept.
func testAnswers(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	answer := func(by, key, action string) store.Answer {
		return store.Answer{
			Request: store.Request{By: by, Key: key}, Action: action,
			Hash: []byte{0, 1, 255}, Body: []byte(`{"action":"` + action + `"}`),
		}
	}
	ada := answer("ada", "x", "a")
	mustCommit(t, stores[0], batch{
		insert: []store.Record{bare("a"), bare("b")}, claim: []store.Claim{{Key: "k", Action: "a"}},
		answers: []store.Answer{ada, answer("bob", "x", "b")},
	})
	if _, err := commit(within(t), stores[0], batch{
		insert: []store.Record{bare("c")}, claim: []store.Claim{{Key: "k", Action: "c"}}, answers: []store.Answer{answer("ada", "y", "c")},
	}); err == nil {
		t.Error("a held key was claimed")
	}
	for _, s := range stores {
		l := load(t, s, store.Batch{Requests: []store.Request{ada.Request, {By: "ada", Key: "y"}, {By: "x", Key: "ada"}}})
		if len(l.Answers) != 1 || !reflect.DeepEqual(l.Answers[0], ada) {
			t.Errorf("loaded %+v, want %+v", l.Answers, ada)
		}
	}
	// The answer's retention has not passed, even if its action is gone.
	purge(t, stores[1], time.Now().UnixMilli(), 10, 0)
	if l := load(t, stores[1], store.Batch{Requests: []store.Request{ada.Request}}); len(l.Answers) != 1 {
		t.Error("a purge deleted the answer of an ongoing action")
	}
}

// testSecret: every handle of a store gets the same secret, and another store has another.
func testSecret(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	one, two := snapshot(t, stores[0]).Secret, snapshot(t, stores[1]).Secret
	if len(one) < 32 || !bytes.Equal(one, two) {
		t.Errorf("got secrets of %d and %d bytes, equal: %v; want at least 32 bytes, equal", len(one), len(two), bytes.Equal(one, two))
	}
	if other := snapshot(t, b.handles(t, 1)[0]).Secret; bytes.Equal(one, other) {
		t.Error("another store has the same secret")
	}
}
