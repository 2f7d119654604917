package linear

import (
	"context"
	"slices"
	"sync"

	"github.com/kettubot/kapi/internal/store"
)

const (
	// takeoverUnseen: the store hides from a runner that another one has its action, so its fence stays good.
	takeoverUnseen bug = "the fence of a checkpoint ignored"
	// ownCheckpoints: a runner goes on from the checkpoint that it has stored itself, when it had the action before.
	ownCheckpoints bug = "a checkpoint taken from a stale runner"
)

// inDatabase builds a bug of takeovers into a store.
func (b bug) inDatabase(s *watchedDatabase) store.Store {
	switch b {
	case takeoverUnseen:
		return &blindfold{watchedDatabase: s, mine: map[string]uint64{}}
	case ownCheckpoints:
		return &hoard{watchedDatabase: s, mine: map[string][]store.Saved{}}
	}
	return s
}

// A blindfold is a store that hides the takeovers of actions that its peer has run.
type blindfold struct {
	*watchedDatabase

	mu     sync.Mutex
	runner string
	mine   map[string]uint64 // the fences of its runs, by action
}

func (s *blindfold) Renew(ctx context.Context, r store.RunnerRecord) error {
	s.mu.Lock()
	s.runner = r.ID
	s.mu.Unlock()
	return s.watchedDatabase.Renew(ctx, r)
}

func (s *blindfold) hide(records []store.Record) []store.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(records, func(r store.Record) bool { return s.mine[r.ID] != 0 && s.mine[r.ID] != r.Fence })
}

// note notes the runs that a transaction begins.
func (s *blindfold) note(written []store.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range written {
		if r := &written[i]; r.Defined != nil && r.RunnerID() == s.runner {
			s.mine[r.ID] = r.Fence
		}
	}
}

func (s *blindfold) Feed(ctx context.Context, since uint64) (store.Page, error) {
	page, err := s.watchedDatabase.Feed(ctx, since)
	page.Records = s.hide(page.Records)
	return page, err
}

func (s *blindfold) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	return s.watchedDatabase.Commit(ctx, b, func(l store.Loaded) (store.Writes, error) {
		l.Records, l.Found = s.hide(l.Records), s.hide(l.Found)
		w, err := decide(l)
		s.note(w.Insert)
		s.note(w.Update)
		return w, err
	})
}

// A hoard is a store that gives its peer what that has saved itself, instead of what is stored.
type hoard struct {
	*watchedDatabase

	mu   sync.Mutex
	mine map[string][]store.Saved // by action
}

func (s *hoard) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	return s.watchedDatabase.Commit(ctx, b, func(l store.Loaded) (store.Writes, error) {
		w, err := decide(l)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, saved := range w.Saved {
			s.mine[saved.Action] = []store.Saved{saved}
		}
		return w, err
	})
}

func (s *hoard) Saved(ctx context.Context, action string) ([]store.Saved, error) {
	s.mu.Lock()
	mine := slices.Clone(s.mine[action])
	s.mu.Unlock()
	if mine != nil {
		return mine, nil
	}
	return s.watchedDatabase.Saved(ctx, action)
}
