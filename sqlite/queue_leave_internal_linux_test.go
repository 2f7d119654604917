package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// TestLeavesTheQueue: a call whose context ends returns at once. The next call of the same Store takes over its
// place in the queue; without one, the place is given up.
func TestLeavesTheQueue(t *testing.T) {
	for _, again := range []bool{true, false} {
		t.Run(fmt.Sprintf("again %v", again), func(t *testing.T) {
			l := newLine(t)
			s, last := openFor(t, l.path), openFor(t, l.path)
			release := l.hold(l.holder)
			ctx, cancel := context.WithCancel(kapitest.Within(t))
			left := make(chan error, 1)
			go func() { _, err := insert(ctx, s, "left"); left <- err }()
			l.await(1)
			var writing sync.WaitGroup
			writing.Go(func() { mustInsert(t, last, "last") })
			l.await(2)
			cancel()
			wantRefusal(t, kapitest.Receive(t, left, "a commit whose context has ended"), l.path, lockedByAnother)
			want := []string{"last"}
			if again {
				want = []string{"again", "last"}
				writing.Go(func() { mustInsert(t, s, "again") })
				kapitest.Eventually(t, "the place is taken", func() bool {
					q := s.now().wake.turns()
					q.mu.Lock()
					defer q.mu.Unlock()
					return q.wanted
				})
			}
			release()
			writing.Wait()
			wantIDs(t, last, want...)
			l.free()
		})
	}
}

// TestCloseLeavesTheQueue: a Store can be closed while its goroutine is still in the queue; the place is given up
// later.
func TestCloseLeavesTheQueue(t *testing.T) {
	l := newLine(t)
	s := openAt(t, l.path)
	release := l.hold(l.holder)
	ctx, cancel := context.WithCancel(kapitest.Within(t))
	left := make(chan error, 1)
	go func() { _, err := insert(ctx, s, "left"); left <- err }()
	l.await(1)
	cancel()
	wantRefusal(t, kapitest.Receive(t, left, "a commit whose context has ended"), l.path, lockedByAnother)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	if err := kapitest.Receive(t, closed, "Close"); err != nil {
		t.Errorf("Close: %v", err)
	}
	if l.queued() != 1 {
		t.Error("nobody is left in the queue: the test shows nothing")
	}
	release()
	l.free()
	mustInsert(t, l.holder, "after")
}

// TestQuiesceWaitsForTheQueue: Quiesce waits until no call and no goroutine of the Store is in the queue.
func TestQuiesceWaitsForTheQueue(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		t.Run(fmt.Sprintf("leaves %v", leaves), func(t *testing.T) {
			l := newLine(t)
			s := openFor(t, l.path)
			release := l.hold(l.holder)
			ctx, cancel := context.WithCancel(kapitest.Within(t))
			defer cancel()
			done := make(chan error, 1)
			go func() { _, err := insert(ctx, s, "a"); done <- err }()
			l.await(1)
			if leaves {
				cancel()
				kapitest.Receive(t, done, "a commit whose context has ended")
			}
			stopped := make(chan int, 1)
			go s.Quiesce(func() { stopped <- l.queued() })
			select {
			case <-stopped:
				t.Error("Quiesce calls f while the process waits for its turn")
			case <-time.After(standstill / 10):
			}
			release()
			if n := kapitest.Receive(t, stopped, "Quiesce to call f"); n != 0 {
				t.Errorf("Quiesce calls f, and %d wait", n)
			}
			if !leaves {
				if err := kapitest.Receive(t, done, "the commit"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestQuiesceWaitsForNobodyStopped: if the turn doesn't change hands, Quiesce doesn't wait for a goroutine in the
// queue.
func TestQuiesceWaitsForNobodyStopped(t *testing.T) {
	l := newLine(t)
	s := openFor(t, l.path)
	l.hold(l.holder) // until the end of the test
	ctx, cancel := context.WithCancel(kapitest.Within(t))
	done := make(chan error, 1)
	go func() { _, err := insert(ctx, s, "a"); done <- err }()
	l.await(1)
	cancel()
	kapitest.Receive(t, done, "a commit whose context has ended")
	called := make(chan struct{})
	go s.Quiesce(func() { close(called) })
	kapitest.Receive(t, called, "Quiesce to call f")
	if l.queued() != 1 {
		t.Error("nobody is left in the queue: the test shows nothing")
	}
}

// TestWakeFileMadeAgainInATurn: a Store creates a missing wake file during its turn at the old one, and then gives
// that turn back.
func TestWakeFileMadeAgainInATurn(t *testing.T) {
	l := newLine(t)
	s := openFor(t, l.path)
	if err := os.Remove(l.path + wakeName); err != nil {
		t.Fatal(err)
	}
	old := s.now().wake.turns()
	if _, err := s.keepWake(kapitest.Within(t)); err != nil {
		t.Fatal(err)
	}
	if s.now().wake.turns() == old {
		t.Fatal("there is no new queue")
	}
	l.free() // the old one's, which this Store still has
	mustInsert(t, s, "new")
	mustInsert(t, l.holder, "old")
	if _, err := l.holder.keepWake(kapitest.Within(t)); err != nil {
		t.Fatal(err)
	}
	release := l.hold(l.holder)
	var writing sync.WaitGroup
	writing.Go(func() { mustInsert(t, s, "together again") })
	l.await(1)
	release()
	writing.Wait()
}

// TestNoQueue: if the kernel has no such locks, or has run out of them, a Store tries to take SQLite's lock.
func TestNoQueue(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EINVAL, syscall.ENOLCK} {
		l := newLine(t)
		s := openFor(t, l.path)
		for _, s := range []*Store{s, l.holder} {
			q := s.now().wake.turns()
			for _, calls := range []*locking{q.quick, q.slow} {
				calls.call = func(uintptr) { calls.err = errno }
			}
		}
		release := l.hold(l.holder)
		written := make(chan error, 1)
		go func() { _, err := insert(kapitest.Within(t), s, "a"); written <- err }()
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		err := s.Renew(ctx, store.RunnerRecord{ID: "r"})
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !isUnavailable(err) {
			t.Errorf("%v: a renewal that can't begin ends with %v", errno, err)
		}
		release()
		if err := kapitest.Receive(t, written, "a commit"); err != nil {
			t.Errorf("%v: %v", errno, err)
		}
		s.Quiesce(func() {})
		closeStore(t, s)
	}
}
