package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/store"
)

const (
	writers          = 6
	commitsPerWriter = 25
)

// testSerialised: decide always gets the newest head, and seqs have no gaps, whichever handle the
// commits come from.
func testSerialised(t *testing.T, b Backend) {
	stores := b.handles(t, 3)
	var head atomic.Uint64
	var inside atomic.Int32
	var all sync.WaitGroup
	for n := range writers {
		s := stores[n%len(stores)]
		all.Go(func() {
			since := uint64(0)
			for i := range commitsPerWriter {
				err := s.Commit(within(t), store.Batch{Since: since}, func(l store.Loaded) (store.Writes, error) {
					if inside.Add(1) != 1 {
						t.Error("two write transactions called decide at the same time")
					}
					defer inside.Add(-1)
					if want := head.Load(); l.Seq != want {
						t.Errorf("decide got the head %d, want the newest, %d", l.Seq, want)
					}
					if got, want := len(l.Records), int(l.Seq-since); got != want {
						t.Errorf("decide got %d records since %d, want %d up to the head %d", got, since, want, l.Seq)
					}
					w := batch{insert: []store.Record{bare(fmt.Sprintf("%d-%d", n, i)), bare(fmt.Sprintf("%d-%d'", n, i))}}.number(l.Seq)
					since = w.Head
					head.Store(w.Head)
					return w, nil
				})
				if err != nil {
					t.Errorf("Commit %d of writer %d: %v", i, n, err)
					return
				}
			}
		})
	}
	all.Wait()
	const want = 2 * writers * commitsPerWriter
	if page := feed(t, stores[0], 0); page.Seq != want || len(page.Records) != want {
		t.Errorf("after %d changes, the head is %d and the feed has %d records", want, page.Seq, len(page.Records))
	}
}

// testReadersBesideWriters: a reader sees every change in order, and only whole transactions, while
// others commit.
func testReadersBesideWriters(t *testing.T, b Backend) {
	const each = 3 // per transaction
	stores := b.handles(t, 4)
	var writing, reading sync.WaitGroup
	var written atomic.Bool
	for n := range writers {
		s := stores[n%2]
		writing.Go(func() {
			for i := range commitsPerWriter {
				records := make([]store.Record, each)
				for j := range records {
					records[j] = bare(fmt.Sprintf("%d-%d-%d", n, i, j))
				}
				if _, err := commit(within(t), s, batch{insert: records}); err != nil {
					t.Errorf("Commit: %v", err)
				}
			}
		})
	}
	for _, s := range stores[1:] {
		reading.Go(func() { pollFeed(t, s, &written, each) })
		reading.Go(func() { pollSnapshot(t, s, &written, each) })
	}
	writing.Wait()
	written.Store(true)
	reading.Wait()
}

// pollFeed follows a feed of inserts, in which every seq must occur exactly once.
func pollFeed(t *testing.T, s store.Store, written *atomic.Bool, each uint64) {
	since := uint64(0)
	for last := false; !last; {
		last = written.Load()
		page, err := s.Feed(within(t), since)
		if err != nil {
			t.Errorf("Feed(%d): %v", since, err)
			return
		}
		if page.Seq < since {
			t.Errorf("the head went back from %d to %d", since, page.Seq)
		}
		if page.Seq%each != 0 {
			t.Errorf("Feed shows part of a transaction: the head is %d, and each transaction has %d changes", page.Seq, each)
		}
		for _, r := range page.Records {
			if r.Seq != since+1 {
				t.Errorf("the feed continues after seq %d with %d", since, r.Seq)
				return
			}
			since = r.Seq
		}
		if since != page.Seq {
			t.Errorf("the feed ends at %d, but the head read with it is %d", since, page.Seq)
			return
		}
	}
	if want := each * writers * commitsPerWriter; since != want {
		t.Errorf("the reader ended at seq %d, want %d", since, want)
	}
}

func pollSnapshot(t *testing.T, s store.Store, written *atomic.Bool, each uint64) {
	last := uint64(0)
	for !written.Load() {
		all, err := s.Snapshot(within(t))
		if err != nil {
			t.Errorf("Snapshot: %v", err)
			return
		}
		if all.Seq < last || all.Seq%each != 0 || uint64(len(all.Records)) != all.Seq {
			t.Errorf("a snapshot at seq %d (after one at %d) has %d records; each transaction inserts %d",
				all.Seq, last, len(all.Records), each)
			return
		}
		last = all.Seq
	}
}

// testListen: a commit at one handle wakes the listeners at every handle.
func testListen(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	woken := make(chan struct{}, 1)
	returned := make(chan error, 1)
	go func() {
		returned <- stores[1].Listen(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	if !b.Single {
		// Listen may take a moment until it receives, so there are several commits.
		for i := 0; ; i++ {
			insert(t, stores[0], bare(fmt.Sprint("a", i)))
			if wokenSoon(woken) {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("none of %d commits woke the other handle within %v", i+1, deadline)
			}
		}
	}
	cancel()
	if err := receive(t, returned, "Listen to return after its context ended"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Listen returned %v after its context ended", err)
	}
}

func wokenSoon(woken <-chan struct{}) bool {
	select {
	case <-woken:
		return true
	case <-time.After(100 * time.Millisecond):
		return false
	}
}

// testContextEnds: with a context that has already ended, no method hangs, and a method that fails
// changes nothing.
func testContextEnds(t *testing.T, b Backend) {
	s := b.handles(t, 1)[0]
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan uint64)
	go func() {
		head := uint64(0)
		if written, err := commit(ctx, s, batch{insert: []store.Record{bare("a")}}); err == nil {
			head = written[0].Seq
		}
		_, _ = s.Snapshot(ctx)
		_, _ = s.Feed(ctx, 0)
		_, _ = s.Runners(ctx, []string{"r"})
		_, _ = s.Purge(ctx, retention(0, 1))
		_ = s.Renew(ctx, runnerRecord("r"))
		_ = s.Listen(ctx, func() {})
		done <- head
	}()
	head := receive(t, done, "methods called with an ended context")
	if got := feed(t, s, 0).Seq; got != head {
		t.Errorf("the head is %d after Commit with an ended context; according to its error it must be %d", got, head)
	}
}

// testContextEndsAtLock: a commit that waits for the write lock stops when its context ends.
func testContextEndsAtLock(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	holding, release := make(chan struct{}), make(chan struct{})
	holder := make(chan error, 1)
	go func() {
		holder <- stores[0].Commit(within(t), store.Batch{}, func(l store.Loaded) (store.Writes, error) {
			close(holding)
			<-release
			return batch{insert: []store.Record{bare("holder")}}.number(l.Seq), nil
		})
	}()
	receive(t, holding, "the first commit to hold the lock")
	for name, s := range map[string]store.Store{"the same handle": stores[0], "another handle": stores[1]} {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		waiter := make(chan error, 1)
		go func() {
			_, err := commit(ctx, s, batch{insert: []store.Record{bare("waiter")}})
			waiter <- err
		}()
		if err := receive(t, waiter, "a commit whose context has ended"); err == nil {
			t.Errorf("%s: a commit succeeded while another held the write lock", name)
		}
		cancel()
	}
	close(release)
	if err := receive(t, holder, "the commit that held the lock"); err != nil {
		t.Errorf("the commit that held the lock: %v", err)
	}
	if page := feed(t, stores[1], 0); len(page.Records) != 1 || page.Records[0].ID != "holder" {
		t.Errorf("the feed has %v, want only what was committed", names(page.Records))
	}
}

// testReadDuringWrite: a write transaction doesn't make readers wait, and its writes aren't visible
// before it commits.
func testReadDuringWrite(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	insert(t, stores[0], bare("a"))
	err := stores[0].Commit(within(t), store.Batch{}, func(l store.Loaded) (store.Writes, error) {
		for i, s := range stores[1:] {
			if page := feed(t, s, 0); page.Seq != 1 || len(page.Records) != 1 {
				t.Errorf("handle %d reads %v during another handle's write, want only what is committed", i+1, names(page.Records))
			}
		}
		return batch{insert: []store.Record{bare("b")}}.number(l.Seq), nil
	})
	if err != nil {
		t.Errorf("Commit: %v", err)
	}
	if page := feed(t, stores[1], 1); len(page.Records) != 1 {
		t.Errorf("another handle doesn't see what was committed: %v", names(page.Records))
	}
}

// testReopen: what was committed is still there after all handles were closed.
func testReopen(t *testing.T, b Backend) {
	open := b.New(t)
	s := open()
	written := insert(t, s, extremes()...)
	if err := s.Renew(within(t), runnerRecord("r")); err != nil {
		t.Errorf("Renew: %v", err)
	}
	before := snapshot(t, s)
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	s = open()
	defer s.Close()
	checkReads(t, s, written)
	if after := snapshot(t, s); after.Head != before.Head {
		t.Errorf("the head is %+v after reopening, want %+v", after.Head, before.Head)
	}
	if runnersOf(t, s, "r")["r"].Beat != 1 {
		t.Errorf("the runner was forgotten by reopening: %v", runnersOf(t, s, "r"))
	}
}
