package sqlite

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/kettubot/kapi/auth"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// bothKinds runs a test on a store in a file and on one in memory.
func bothKinds(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Run("file", func(t *testing.T) { test(t, openFor(t, newPath(t))) })
	t.Run("memory", func(t *testing.T) {
		s, err := OpenMemory()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeStore(t, s) })
		test(t, s)
	})
}

// TestQuiesce: while f runs, no write transaction is open and none begins.
func TestQuiesce(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		inside, goOn := make(chan struct{}), make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			err := s.Commit(kapitest.Within(t), store.Batch{}, func(store.Loaded) (store.Writes, error) {
				close(inside)
				<-goOn
				return store.Writes{}, nil
			})
			if err != nil {
				t.Errorf("Commit: %v", err)
			}
		})
		kapitest.Receive(t, inside, "a commit to begin")
		quiet := make(chan struct{})
		all.Go(func() {
			s.Quiesce(func() {
				select {
				case <-goOn:
				default:
					t.Error("Quiesce calls f inside a commit")
				}
				ctx, cancel := context.WithCancel(kapitest.Within(t))
				cancel()
				if _, err := insert(ctx, s, "during"); err == nil {
					t.Error("a commit began while f runs")
				}
				close(quiet)
			})
		})
		close(goOn)
		kapitest.Receive(t, quiet, "Quiesce to call f")
		all.Wait()
		mustInsert(t, s, "after")
		wantIDs(t, s, "after")
	})
}

// TestQuiesceLocksNobodyOut: while a process runs f, other processes can write.
func TestQuiesceLocksNobodyOut(t *testing.T) {
	path := newPath(t)
	s, other := openFor(t, path), openFor(t, path)
	mustInsert(t, s, "a")
	s.Quiesce(func() { mustInsert(t, other, "b") })
	wantIDs(t, s, "a", "b")
}

func TestQuiesceAfterClose(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		closeStore(t, s)
		called := 0
		s.Quiesce(func() { called++ })
		if called != 1 {
			t.Errorf("Quiesce called f %d times", called)
		}
	})
}

// TestCloseWaits: Close waits for a commit in progress, and so do concurrent calls of Close.
func TestCloseWaits(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		inside, goOn := make(chan struct{}), make(chan struct{})
		committed, closed := make(chan error, 1), make(chan error, 3)
		go func() {
			committed <- s.Commit(kapitest.Within(t), store.Batch{}, func(store.Loaded) (store.Writes, error) {
				close(inside)
				<-goOn
				return store.Writes{}, nil
			})
		}()
		kapitest.Receive(t, inside, "a commit to begin")
		for range 3 {
			go func() { closed <- s.Close() }()
		}
		select {
		case err := <-closed:
			t.Errorf("Close didn't wait for a commit: %v", err)
		default:
		}
		close(goOn)
		if err := kapitest.Receive(t, committed, "the commit"); err != nil {
			t.Errorf("the commit that Close waits for: %v", err)
		}
		for range 3 {
			if err := kapitest.Receive(t, closed, "Close"); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		closeStore(t, s)
	})
}

// TestCloseDuringWork: a call in progress when the store is closed either succeeds or says that it is closed.
func TestCloseDuringWork(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	closing := make(chan struct{})
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := 0; ; i++ {
				_, err := insert(kapitest.Within(t), s, string(rune('a'+n))+string(rune('0'+i)))
				if err == nil {
					_, err = s.Snapshot(kapitest.Within(t))
				}
				if err != nil {
					wantRefusal(t, err, path, "it is closed")
					return
				}
				if i == 3 && n == 0 {
					close(closing)
				}
			}
		})
	}
	kapitest.Receive(t, closing, "some work")
	closeStore(t, s)
	all.Wait()
}

// TestAfterClose: every method says that the store is closed.
func TestAfterClose(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		closeStore(t, s)
		closeStore(t, s)
		ctx := kapitest.Within(t)
		for name, call := range map[string]func() error{
			"Snapshot":    func() error { _, err := s.Snapshot(ctx); return err },
			"Feed":        func() error { _, err := s.Feed(ctx, 0); return err },
			"Runners":     func() error { _, err := s.Runners(ctx, []string{"r"}); return err },
			"Commit":      func() error { _, err := insert(ctx, s, "a"); return err },
			"Renew":       func() error { return s.Renew(ctx, store.RunnerRecord{ID: "r"}) },
			"Purge":       func() error { _, err := s.Purge(ctx, store.Retention{Before: 1, Limit: 1}); return err },
			"Listen":      func() error { return s.Listen(ctx, func() { t.Error("woken after Close") }) },
			"AddToken":    func() error { return s.AddToken(ctx, auth.Token{ID: "t"}) },
			"Tokens":      func() error { _, err := s.Tokens(ctx); return err },
			"FindToken":   func() error { _, err := s.FindToken(ctx, "t"); return err },
			"RemoveToken": func() error { return s.RemoveToken(ctx, "t") },
		} {
			err := call()
			if s.Path() != "" {
				wantRefusal(t, err, s.Path(), "it is closed")
			} else if !errors.Is(err, errClosed) {
				t.Errorf("%s after Close: %v, want %v", name, err, errClosed)
			}
		}
	})
}
