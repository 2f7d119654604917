package auth_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi/auth"
)

// guess makes a token that no store has.
func guess(t *testing.T) string {
	t.Helper()
	secret, _, err := auth.New("nobody", auth.TypeUser, auth.Admin, 0)
	if err != nil {
		t.Error(err)
	}
	return secret
}

// flood sends a thousand guesses at once, and returns when they are answered.
func flood(t *testing.T, a *auth.Authenticator) {
	t.Helper()
	var group sync.WaitGroup
	for range 1000 {
		group.Go(func() {
			if _, err := a.Authenticate(request("Bearer " + guess(t))); !errors.Is(err, auth.ErrInvalidToken) {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// A flood of wrong tokens reads the store only a few times, and during it a valid token is found, even one
// that was just made.
func TestFloodOfGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		a := auth.NewAuthenticator(store)
		var group sync.WaitGroup
		began := time.Now()
		for range 10 {
			group.Go(func() { flood(t, a) })
			group.Go(func() {
				secret, _ := store.add(t, "alice", auth.TypeUser, 0)
				if _, err := a.Authenticate(request("Bearer " + secret)); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(15 * time.Millisecond)
		}
		group.Wait()
		if store.lookups > 51 || store.lists > 12 {
			t.Errorf("10,000 guesses cost %d look-ups and %d readings", store.lookups, store.lists)
		}
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// A shared reading is no older than anything else that an Authenticator remembers.
func TestRevocationDuringAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		a := auth.NewAuthenticator(store)
		here, token := store.add(t, "alice", auth.TypeUser, 0)
		elsewhere, other := store.add(t, "bob", auth.TypeUser, 0)
		flood(t, a)
		if err := a.Revoke(t.Context(), token.ID); err != nil {
			t.Fatal(err)
		}
		flood(t, a)
		if _, err := a.Authenticate(request("Bearer " + here)); !errors.Is(err, auth.ErrInvalidToken) {
			t.Errorf("after its revocation: %v", err)
		}
		if err := store.RemoveToken(t.Context(), other.ID); err != nil {
			t.Fatal(err)
		}
		for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			_, err := a.Authenticate(request("Bearer " + elsewhere))
			if errors.Is(err, auth.ErrInvalidToken) {
				break
			}
			if err != nil || time.Since(start) > 500*time.Millisecond {
				t.Fatalf("%v after it was removed elsewhere: %v", time.Since(start), err)
			}
		}
	})
}

// A client that causes a reading and disconnects doesn't affect the others that wait for it.
func TestFloodThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		a := auth.NewAuthenticator(store)
		flood(t, a)
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				_, _ = a.Authenticate(request("Bearer " + guess(t)).WithContext(ctx))
			})
		}
		synctest.Wait()
		secret, _ := store.add(t, "alice", auth.TypeUser, 0)
		if _, err := a.Authenticate(request("Bearer " + secret)); err != nil {
			t.Error(err)
		}
		group.Wait()
	})
}

// If the store can't be read, a token is not called invalid.
func TestOutageDuringAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		a := auth.NewAuthenticator(store)
		flood(t, a)
		secret, _ := store.add(t, "alice", auth.TypeUser, 0)
		store.fail = errors.New("disk on fire")
		if _, err := a.Authenticate(request("Bearer " + secret)); !errors.Is(err, store.fail) {
			t.Errorf("got %v", err)
		}
		store.fail = nil
		if _, err := a.Authenticate(request("Bearer " + secret)); err != nil {
			t.Errorf("when it can be read again: %v", err)
		}
	})
}
