package peer_test

import (
	"context"
	"slices"
	"sync"

	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/sqlite"
)

// A link is one peer's connection to a shared store. It counts the calls, can be cut, and can change
// what is read about the store and about runners.
type link struct {
	*sqlite.Store
	// oneMachine makes the store one that several machines can't share.
	oneMachine bool
	// disguise changes what the peer writes about its own runner.
	disguise func(*store.RunnerRecord)
	// alter changes what the peer reads about runners.
	alter func(*store.RunnerRecord)

	mu     sync.Mutex
	calls  map[string]int
	before func(method string) error
}

// cut makes the named methods fail, or all methods that reach the store if none is named.
func (l *link) cut(methods ...string) {
	l.ask(func(method string) error {
		if len(methods) == 0 || slices.Contains(methods, method) {
			return errOutage
		}
		return nil
	})
}

func (l *link) mend() { l.ask(nil) }

// ask sets a function that is called before each method. If it returns an error, the method returns that.
func (l *link) ask(before func(method string) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before = before
}

// count returns how often a method was called since the last call of count for it.
func (l *link) count(method string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.calls[method]
	delete(l.calls, method)
	return n
}

func (l *link) call(method string) error {
	l.mu.Lock()
	if l.calls == nil {
		l.calls = map[string]int{}
	}
	l.calls[method]++
	before := l.before
	l.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(method)
}

func (l *link) Snapshot(ctx context.Context) (store.Snapshot, error) {
	if err := l.call("Snapshot"); err != nil {
		return store.Snapshot{}, err
	}
	s, err := l.Store.Snapshot(ctx)
	s.OneMachine = l.oneMachine
	return s, err
}

func (l *link) Some(ctx context.Context, ids []string) (store.Snapshot, error) {
	if err := l.call("Some"); err != nil {
		return store.Snapshot{}, err
	}
	s, err := l.Store.Some(ctx, ids)
	s.OneMachine = l.oneMachine
	return s, err
}

func (l *link) Feed(ctx context.Context, since uint64) (store.Page, error) {
	if err := l.call("Feed"); err != nil {
		return store.Page{}, err
	}
	return l.Store.Feed(ctx, since)
}

func (l *link) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	if err := l.call("Commit"); err != nil {
		return err
	}
	err := l.Store.Commit(ctx, b, func(loaded store.Loaded) (store.Writes, error) {
		w, err := decide(loaded)
		for i := range w.Runners {
			w.Runners[i] = l.disguised(w.Runners[i])
		}
		return w, err
	})
	if err != nil {
		return err
	}
	return l.call("Answer") // so that the answer to a commit can be lost
}

func (l *link) Renew(ctx context.Context, r store.RunnerRecord) error {
	if err := l.call("Renew"); err != nil {
		return err
	}
	return l.Store.Renew(ctx, l.disguised(r))
}

func (l *link) disguised(r store.RunnerRecord) store.RunnerRecord {
	if l.disguise != nil {
		l.disguise(&r)
	}
	return r
}

func (l *link) Runners(ctx context.Context, ids []string) ([]store.RunnerRecord, error) {
	if err := l.call("Runners"); err != nil {
		return nil, err
	}
	all, err := l.Store.Runners(ctx, ids)
	for i := range all {
		if l.alter != nil {
			l.alter(&all[i])
		}
	}
	return all, err
}

func (l *link) NoteAsked(ctx context.Context, notes []store.Asked) error {
	if err := l.call("NoteAsked"); err != nil {
		return err
	}
	return l.Store.NoteAsked(ctx, notes)
}

func (l *link) Purge(ctx context.Context, r store.Retention) (int, error) {
	if err := l.call("Purge"); err != nil {
		return 0, err
	}
	return l.Store.Purge(ctx, r)
}

// Close does nothing: the store outlives its peers.
func (l *link) Close() error { return nil }
