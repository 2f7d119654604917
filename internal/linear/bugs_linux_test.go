package linear

import (
	"context"
	"sync"
	"time"

	"github.com/kettubot/kapi/internal/store"
)

// A bug is built into a peer to see that the checker finds it.
type bug string

const (
	noBug bug = ""
	// keysUnchecked: the store doesn't enforce unique keys, and hides which keys are held.
	keysUnchecked bug = "the key check removed"
	// fenceIgnored: a report is accepted whatever its fence is.
	fenceIgnored bug = "the fence ignored"
	// tooEarly: changes are acknowledged shortly before they are committed.
	tooEarly bug = "an acknowledgement before the commit"
)

// in builds a bug of starts and reports into a store.
func (b bug) in(store store.Store) store.Store {
	switch b {
	case keysUnchecked:
		return keyless{store}
	case tooEarly:
		return &hasty{Store: store}
	}
	return store
}

// keyless is a store that keeps no keys, and hides those of what others committed.
type keyless struct{ store.Store }

// Keep implements store.Keeper: peers that follow nobody stay so.
func (keyless) Keep(string) bool { return false }

func withoutKeys(records []store.Record) {
	for i := range records {
		if records[i].Status.Active() {
			records[i].Keys = nil
		}
	}
}

func (s keyless) Snapshot(ctx context.Context) (store.Snapshot, error) {
	snapshot, err := s.Store.Snapshot(ctx)
	withoutKeys(snapshot.Records)
	return snapshot, err
}

func (s keyless) Feed(ctx context.Context, since uint64) (store.Page, error) {
	page, err := s.Store.Feed(ctx, since)
	withoutKeys(page.Records)
	return page, err
}

func (s keyless) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	return s.Store.Commit(ctx, b, func(l store.Loaded) (store.Writes, error) {
		withoutKeys(l.Records)
		withoutKeys(l.Found)
		for key := range l.Held {
			l.Held[key] = ""
		}
		w, err := decide(l)
		w.Claim, w.Free = nil, nil
		return w, err
	})
}

// hasty is a store whose Commit returns before the transaction has ended.
type hasty struct {
	store.Store
	late sync.WaitGroup
}

// Keep implements store.Keeper, as that of keyless.
func (*hasty) Keep(string) bool { return false }

// haste is how much too early it returns.
const haste = 50 * time.Millisecond

func (s *hasty) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	s.late.Wait() // for the previous transaction
	decided := make(chan error, 1)
	s.late.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		defer cancel()
		err := s.Store.Commit(ctx, b, func(l store.Loaded) (store.Writes, error) {
			w, err := decide(l)
			if err == nil {
				decided <- nil
				<-time.After(haste)
			}
			return w, err
		})
		select {
		case decided <- err:
		default:
		}
	})
	return <-decided
}

func (s *hasty) Close() error {
	s.late.Wait()
	return s.Store.Close()
}

// rightFence returns the action's current fence.
func (l *lane) rightFence(g grant) uint64 {
	all, err := l.fences.latest()
	if err != nil {
		panic(err)
	}
	for _, known := range all {
		if known.ID == g.ID {
			return known.Fence
		}
	}
	return g.Fence
}
