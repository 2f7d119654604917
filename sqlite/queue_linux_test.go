package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// A line is of those who wait for their turn to write to a store.
type line struct {
	t      testing.TB
	path   string
	holder *Store
}

// newLine makes a store, and a Store whose turns the test takes.
func newLine(t testing.TB) *line {
	path := newPath(t)
	return &line{t, path, openFor(t, path)}
}

// hold has a transaction of a Store open until release is called.
func (l *line) hold(s *Store) (release func()) {
	l.t.Helper()
	inside, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.Commit(kapitest.Within(l.t), store.Batch{}, func(store.Loaded) (store.Writes, error) {
			close(inside)
			<-goOn
			return store.Writes{}, nil
		})
	}()
	kapitest.Receive(l.t, inside, "a transaction to begin")
	release = sync.OnceFunc(func() {
		close(goOn)
		if err := kapitest.Receive(l.t, done, "a transaction to end"); err != nil {
			l.t.Errorf("the transaction that others wait for: %v", err)
		}
	})
	l.t.Cleanup(release)
	return release
}

// queued is how many wait in the kernel, as that tells.
func (l *line) queued() (n int) {
	l.t.Helper()
	info, err := os.Stat(l.path + wakeName)
	if err != nil {
		l.t.Fatal(err)
	}
	inode := ":" + strconv.FormatUint(info.Sys().(*syscall.Stat_t).Ino, 10) + " "
	for line := range strings.Lines(string(readFile(l.t, "/proc/locks"))) {
		if strings.Contains(line, "-> OFDLCK") && strings.Contains(line, inode) {
			n++
		}
	}
	return n
}

// await waits until so many wait.
func (l *line) await(n int) {
	l.t.Helper()
	kapitest.Eventually(l.t, fmt.Sprintf("%d wait for their turn", n), func() bool { return l.queued() == n })
}

// free waits until nobody has the turn or waits for it.
func (l *line) free() {
	l.t.Helper()
	kapitest.Eventually(l.t, "nobody has the turn", func() bool {
		q := l.holder.now().wake.turns()
		q.mu.Lock()
		defer q.mu.Unlock()
		id, err := q.who()
		return err == nil && id == 0
	})
}

// patience is that of who must not be refused for being one of many.
const patience = 2 * time.Second

// TestManyTakeTurns: of many who write, together for longer than any of them has the patience for, none is
// refused.
func TestManyTakeTurns(t *testing.T) {
	const many = 200
	path := newPath(t)
	all := make([]*Store, many)
	for i := range all {
		all[i] = openFor(t, path)
	}
	var writing sync.WaitGroup
	for i, s := range all {
		writing.Go(func() {
			ctx, cancel := store.WithPatience(kapitest.Within(t), patience)
			defer cancel(nil)
			if err := linger(ctx, s, 2*patience/many); err != nil {
				t.Errorf("%d of %d: %v", i, many, err)
			}
		})
	}
	writing.Wait()
}

// linger makes a transaction that takes its time.
func linger(ctx context.Context, s *Store, d time.Duration) error {
	return s.Commit(ctx, store.Batch{}, func(store.Loaded) (store.Writes, error) {
		time.Sleep(d)
		return store.Writes{}, nil
	})
}

// TestOneConnectionManyWait: nor is one who waits for the connection of another who waits for their turn.
func TestOneConnectionManyWait(t *testing.T) {
	const before = 6
	l := newLine(t)
	s := openFor(t, l.path)
	release := l.hold(l.holder)
	var writing sync.WaitGroup
	for i := range before {
		other := openFor(t, l.path)
		writing.Go(func() {
			if err := linger(kapitest.Within(t), other, 2*patience/before); err != nil {
				t.Error(err)
			}
		})
		l.await(i + 1)
	}
	for range 3 {
		writing.Go(func() {
			ctx, cancel := store.WithPatience(kapitest.Within(t), patience)
			defer cancel(nil)
			if err := s.Renew(ctx, store.RunnerRecord{ID: "r"}); err != nil {
				t.Error(err)
			}
		})
	}
	l.await(before + 1)
	release()
	writing.Wait()
}

// TestFirstComeFirstServed: they have their turns in the order in which they came.
func TestFirstComeFirstServed(t *testing.T) {
	l := newLine(t)
	release := l.hold(l.holder)
	var ids []string
	var writing sync.WaitGroup
	for i := range 20 {
		s, id := openFor(t, l.path), fmt.Sprintf("%02d", i)
		ids = append(ids, id)
		writing.Go(func() { mustInsert(t, s, id) })
		l.await(i + 1)
	}
	release()
	writing.Wait()
	wantIDs(t, l.holder, ids...)
}

// TestNobodyStarves: who comes back at once for more is no faster than the others.
func TestNobodyStarves(t *testing.T) {
	const stores, turns = 5, 200
	path := newPath(t)
	var mu sync.Mutex
	had, taken := make([]int, stores), 0
	var writing sync.WaitGroup
	for i := range stores {
		s := openFor(t, path)
		writing.Go(func() {
			for goOn := true; goOn; {
				err := s.Commit(kapitest.Within(t), store.Batch{}, func(store.Loaded) (store.Writes, error) {
					mu.Lock()
					had[i]++
					taken++
					goOn = taken < turns
					mu.Unlock()
					time.Sleep(2 * time.Millisecond) // the others come
					return store.Writes{}, nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	if least := slices.Min(had); least < turns/stores/2 {
		t.Errorf("of %d turns the %d had %v", turns, stores, had)
	}
}

// TestStoppedInTheQueue: a process that is stopped while it waits holds nobody up for long, and has its turn when it
// goes on.
func TestStoppedInTheQueue(t *testing.T) {
	l := newLine(t)
	other := openFor(t, l.path)
	epoch := headOf(t, l.holder).Epoch
	release := l.hold(l.holder)
	child := startChild(t, "committer", l.path)
	child.expect("ready")
	child.send("go")
	child.expect(epoch)
	child.send("late")
	l.await(1)
	stop(t, child)
	release()
	ctx, cancel := store.WithPatience(kapitest.Within(t), 20*standstill)
	defer cancel(nil)
	for _, id := range []string{"a", "b"} {
		if _, err := insert(ctx, other, id); err != nil {
			t.Fatalf("while a process is stopped that has the turn: %v", err)
		}
	}
	if q := other.now().wake.turns(); q.left() == nil {
		t.Error("the stopped process held nobody up: the test shows nothing")
	}
	wantIDs(t, other, "a", "b")
	if err := child.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	child.expect("3")
	child.end()
	wantIDs(t, other, "a", "b", "late")
	l.free() // also of the goroutine that was left waiting
	mustInsert(t, other, "c")
}

// stop stops a process, and waits until it is.
func stop(t testing.TB, c *child) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stat := fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid)
	kapitest.Eventually(t, "the process is stopped", func() bool {
		return strings.Contains(string(readFile(t, stat)), ") T ")
	})
}

// TestKilledHolder: a process that is killed inside a transaction, or in the queue, is in nobody's way.
func TestKilledHolder(t *testing.T) {
	l := newLine(t)
	epoch := headOf(t, l.holder).Epoch
	inside := startChild(t, "holder", l.path)
	inside.expect("inside")
	waits := startChild(t, "committer", l.path)
	waits.expect("ready")
	waits.send("go")
	waits.expect(epoch)
	waits.send("never")
	l.await(1)
	committed := make(chan struct{})
	go func() {
		defer close(committed)
		mustInsert(t, l.holder, "a")
	}()
	l.await(2)
	for _, c := range []*child{waits, inside} {
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	kapitest.Receive(t, committed, "a commit behind processes that were killed")
	wantIDs(t, l.holder, "a")
}

// TestLeavesTheQueue: who no longer wants to wait leaves at once; the next of that Store has the place that was left, and
// else it is given up.
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

// TestCloseLeavesTheQueue: a Store can be closed while a place in the queue is left, which is given up later.
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

// TestQuiesceWaitsForTheQueue: a process is stopped neither while it waits for its turn nor while a place is left.
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

// TestQuiesceWaitsForNobodyStopped: where nobody gets their turn, a place that is left keeps nobody from stopping.
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

// TestWakeFileMadeAgainInATurn: who makes the wake file again does so in their turn at the old one, and ends it.
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

// TestNoQueue: where the kernel has no such locks, or no more of them, the lock is tried for.
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
