package sqlite

import (
	"context"
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

// A line is the queue of the Stores that wait for their turn to write to one store.
type line struct {
	t      testing.TB
	path   string
	holder *Store
}

// newLine creates a store, and a Store with which the test takes turns.
func newLine(t testing.TB) *line {
	path := newPath(t)
	return &line{t, path, openFor(t, path)}
}

// hold keeps a transaction of a Store open until release is called.
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

// queued returns how many waiters the kernel lists.
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

// await waits until queued returns n.
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
		turn, door, err := q.who()
		return err == nil && turn == 0 && door == 0
	})
}

// patience is how long a call waits without progress of the others. A call must not fail just because many
// others write.
const patience = 2 * time.Second

// TestManyTakeTurns: many writers, who together take longer than the patience of any of them, all succeed.
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

// TestOthersCommit: nor does a call fail while the turn stands still, if others commit without one, as they do on a
// machine with too much to do.
func TestOthersCommit(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	mustInsert(t, s, "a")
	c, err := openConn(t.Context(), path)
	must(t, err)
	must(t, step(c, "BEGIN IMMEDIATE"))
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := store.WithPatience(kapitest.Within(t), patience)
		defer cancel(nil)
		_, err := insert(ctx, s, "b")
		ended <- err
	}()
	now := s.now().wake.read()
	for began := time.Now(); time.Since(began) < 2*patience; time.Sleep(patience / 10) {
		now.seq++
		s.now().wake.touch(now)
	}
	must(t, step(c, "ROLLBACK"))
	must(t, c.Close())
	must(t, kapitest.Receive(t, ended, "the end of the commit"))
}

// linger makes a slow transaction.
func linger(ctx context.Context, s *Store, d time.Duration) error {
	return s.Commit(ctx, store.Batch{}, func(store.Loaded) (store.Writes, error) {
		time.Sleep(d)
		return store.Writes{}, nil
	})
}

// TestOneConnectionManyWait: so do calls that wait for a connection whose user waits for its turn.
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

// TestFirstComeFirstServed: writers get their turns in the order in which they came.
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

// TestNobodyStarves: a writer that wants the turn again at once gets it no more often than the others.
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

// TestStoppedInTheQueue: a process that is stopped in the queue doesn't delay others for long, and writes when it
// continues.
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
	ctx, cancel := store.WithPatience(kapitest.Within(t), openTimeout)
	defer cancel(nil)
	for _, id := range []string{"a", "b"} {
		if _, err := insert(ctx, other, id); err != nil {
			t.Fatalf("a commit while the process that has the turn is stopped: %v", err)
		}
	}
	if q := other.now().wake.turns(); q.left() == nil {
		t.Error("the stopped process delayed nobody: the test shows nothing")
	}
	wantIDs(t, other, "a", "b")
	if err := child.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	child.expect("3")
	child.end()
	wantIDs(t, other, "a", "b", "late")
	l.free() // the goroutine that was left waiting gives the turn back
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

// TestKilledHolder: a process that is killed inside a transaction, or in the queue, blocks nobody.
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

// A call that joins again after its goroutine has got the turn keeps it, although somebody is at the door.
// Otherwise it would wait behind that process, which waits for this turn.
func TestQueueJoinWithTheTurn(t *testing.T) {
	path := newPath(t)
	var queues []*queue
	for range 2 {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		queues = append(queues, newQueue(f, ""))
	}
	one, two := queues[0], queues[1]
	if at, _ := one.join(); at != nil {
		t.Fatal("the turn is not free")
	}
	at, _ := two.join()
	kapitest.Eventually(t, "somebody is at the door", func() bool {
		_, door, err := one.who()
		return err == nil && door != 0
	})
	if at, _ := one.join(); at != nil {
		t.Error("a call that has the turn waits for it")
	}
	one.leave()
	select {
	case <-at:
		two.leave()
	case <-time.After(deadline):
		t.Error("the turn was not passed on")
	}
}

// Who has SQLite's lock is found out without going through all descriptors each time.
func TestWriterBesideManyDescriptors(t *testing.T) {
	path := newPath(t)
	openFor(t, path)
	for range 500 {
		f, err := os.Open(path + wakeName)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
	}
	known := openIndex{path: path + "-shm"}
	if pid := known.writer(); pid != -1 {
		t.Fatalf("process %d has the lock", pid)
	}
	fastest := func(f func()) time.Duration {
		best := deadline
		for range 20 {
			began := time.Now()
			f()
			best = min(best, time.Since(began))
		}
		return best
	}
	first := fastest(func() { (&openIndex{path: known.path}).writer() })
	if again := fastest(func() { known.writer() }); again*5 > first {
		t.Errorf("it takes %v, and %v at first", again, first)
	}
}
