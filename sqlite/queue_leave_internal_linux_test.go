package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
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

// queuesAt returns queues at one wake file, each as another process's.
func queuesAt(t *testing.T, n int) []*queue {
	t.Helper()
	path := newPath(t)
	queues := make([]*queue, n)
	for i := range queues {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		queues[i] = newQueue(f, "")
	}
	return queues
}

// TestOneOvertakes: of those who wait while the turn stands still, only the next in line goes on without it, one after
// the other; if the next in line stands still, too, all others do.
func TestOneOvertakes(t *testing.T) {
	queues := queuesAt(t, 4)
	holder, waiting := queues[0], queues[1:]
	if turn, _ := holder.join(); turn != nil {
		t.Fatal("the turn is not free")
	}
	defer holder.leave()
	isNext := func(q *queue) bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.isNext()
	}
	for i, q := range waiting {
		q.join()
		if i == 0 {
			kapitest.Eventually(t, "one is the next in line", func() bool { return isNext(q) })
		}
	}
	overtaking := func(age time.Duration) (some []*queue) {
		for _, q := range waiting {
			q.look() // the first look sees a new holder
			q.mu.Lock()
			q.holder.since, q.door.since = q.holder.since.Add(-age), q.door.since.Add(-age)
			q.mu.Unlock()
			if q.look().overtake {
				some = append(some, q)
			}
		}
		return some
	}
	if some := overtaking(standstill / 2); len(some) != 0 {
		t.Errorf("%d overtake a holder that has had the turn for a moment", len(some))
	}
	for range len(waiting) - 1 {
		some := overtaking(standstill)
		if len(some) != 1 || !isNext(some[0]) {
			t.Fatalf("%d overtake, want the next in line alone", len(some))
		}
		some[0].leave()
		waiting = slices.DeleteFunc(waiting, func(q *queue) bool { return q == some[0] })
		kapitest.Eventually(t, "another one is the next in line", func() bool { return slices.ContainsFunc(waiting, isNext) })
	}
	stuck := queuesAt(t, 3)
	stuck[0].join()
	defer stuck[0].leave()
	for _, q := range stuck[1:] {
		q.join()
	}
	waiting = stuck[1:]
	kapitest.Eventually(t, "one is the next in line", func() bool { return slices.ContainsFunc(waiting, isNext) })
	if some := overtaking(blocked); len(some) != len(waiting) {
		t.Errorf("%d of %d overtake a line that stands still", len(some), len(waiting))
	}
}

// TestLeftInLine: a goroutine whose call has ended keeps nobody from the door.
func TestLeftInLine(t *testing.T) {
	queues := queuesAt(t, 4)
	queues[0].join()
	defer queues[0].leave()
	isNext := func(q *queue) func() bool {
		return func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			return q.isNext()
		}
	}
	next, left, last := queues[1], queues[2], queues[3]
	next.join()
	kapitest.Eventually(t, "one is the next in line", isNext(next))
	left.join()
	left.leave()
	next.leave()
	kapitest.Eventually(t, "the one that has left is at the door", isNext(left))
	last.join()
	kapitest.Eventually(t, "the last one is at the door", isNext(last))
}

// TestMovedAtTheGate: a file that is put in the place of an open one while a process waits at the gate is not opened with
// the log of that one.
func TestMovedAtTheGate(t *testing.T) {
	l := &line{t: t, path: newPath(t)}
	other := newPath(t)
	makeStore(t, l.path, "old")
	makeStore(t, other, "new")
	keeps := startChild(t, "keep", l.path)
	keeps.expect("open")
	held := make([]*queue, gates)
	for i := range held {
		f, err := os.OpenFile(l.path+wakeName, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		held[i] = newQueue(f, l.path)
		held[i].span = gateSpan(i)
		if !held[i].try() {
			t.Fatal("somebody is at the gate")
		}
	}
	opened := make(chan *Store, 1)
	go func() {
		s, err := openWithin(kapitest.Within(t), t, l.path)
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	l.await(1)
	rename(t, other, l.path)
	for _, q := range held {
		q.leave()
	}
	select {
	case <-opened:
		t.Error("it was opened while another process had the log open")
	case <-time.After(standstill / 2):
	}
	keeps.end()
	if s := kapitest.Receive(t, opened, "Open"); s != nil {
		wantIDs(t, s, "new")
	}
}

// TestGates: only so many may open a store at once; the others wait until one is done.
func TestGates(t *testing.T) {
	path := newPath(t)
	var at []*wakeFile
	for range 3 {
		s := openFor(t, path)
		at = append(at, s.now().wake)
	}
	var leave [2]func()
	for i := range leave {
		var err error
		if leave[i], err = at[i].pass(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(50*time.Millisecond, cancel)
	defer timer.Stop()
	if _, err := at[2].pass(ctx, 2); ctx.Err() == nil || !isUnavailable(err) {
		t.Errorf("while two are opening the store, a third one is told %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if late, err := at[2].pass(ctx, 2); ctx.Err() == nil || err != nil {
		t.Errorf("when the time for opening is over, a third one is told %v", err)
	} else {
		late()
	}
	passed := make(chan error, 1)
	go func() {
		third, err := at[2].pass(kapitest.Within(t), 2)
		if err == nil {
			third()
		}
		passed <- err
	}()
	leave[0]()
	leave[1]()
	if err := kapitest.Receive(t, passed, "the third one to pass"); err != nil {
		t.Error(err)
	}
}
