package sqlite

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

const lockedByAnother = "it is locked by another process"

// TestCommitWaitsForALock: a commit waits for another process's write lock as long as its context allows.
// Reads don't wait.
func TestCommitWaitsForALock(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	mustInsert(t, s, "before")
	other := startChild(t, "lock", path)
	other.expect("locked")
	for name, write := range map[string]func(context.Context) error{
		"Commit": func(ctx context.Context) error { _, err := insert(ctx, s, "refused"); return err },
		"Renew":  func(ctx context.Context) error { return s.Renew(ctx, store.RunnerRecord{ID: "r"}) },
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		err := write(ctx)
		if ctx.Err() == nil {
			t.Errorf("%s gave up before its context ended", name)
		}
		cancel()
		wantRefusal(t, err, path, lockedByAnother)
	}
	waited := make(chan error, 1)
	deciding := make(chan struct{}, 1)
	go func() {
		waited <- s.Commit(kapitest.Within(t), store.Batch{}, func(store.Loaded) (store.Writes, error) {
			deciding <- struct{}{}
			return store.Writes{}, nil
		})
	}()
	wantIDs(t, s, "before")
	wantIDs(t, openFor(t, path), "before") // opening an up-to-date store needs no write lock
	select {
	case err := <-waited:
		t.Errorf("a commit didn't wait for the lock: %v", err)
	case <-deciding:
		t.Error("a commit began to decide without the lock")
	default:
	}
	other.end()
	if err := kapitest.Receive(t, waited, "the commit that waits for the lock"); err != nil {
		t.Errorf("the lock was released, and the commit that waited for it returns: %v", err)
	}
	mustInsert(t, s, "after")
	wantIDs(t, s, "before", "after")
}

// openWithin opens a store like Open, but stops waiting when ctx ends.
func openWithin(ctx context.Context, t *testing.T, path string) (*Store, error) {
	t.Helper()
	s, err := OpenContext(ctx, path)
	if err == nil {
		t.Cleanup(func() { closeStore(t, s) })
	}
	return s, err
}

// TestOpenWaitsForALock: Open waits for a lock that keeps it from creating or reading a store. If it doesn't
// get the lock, its error says so.
func TestOpenWaitsForALock(t *testing.T) {
	for name, c := range map[string]struct {
		role  string
		ready bool // the file is a store already
	}{
		"new file, write lock":    {"lock", false},
		"new file, whole lock":    {"lock all", false},
		"ready store, whole lock": {"lock all", true},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			if c.ready {
				makeStore(t, path, "before")
			} else {
				writeFile(t, path, nil)
			}
			other := startChild(t, c.role, path)
			other.expect("locked")
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			_, err := openWithin(ctx, t, path)
			if err == nil || !isUnavailable(err) {
				t.Errorf("opening a locked store returns %v, want %v", err, kapi.ErrUnavailable)
			} else {
				wantRefusal(t, err, path, lockedByAnother)
			}
			opened := make(chan error, 1)
			go func() {
				s, err := openWithin(kapitest.Within(t), t, path)
				if err == nil {
					_, err = insert(kapitest.Within(t), s, "after")
				}
				opened <- err
			}()
			select {
			case err := <-opened:
				t.Errorf("Open didn't wait for the lock: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			other.end()
			if err := kapitest.Receive(t, opened, "Open"); err != nil {
				t.Errorf("the lock was released, and Open returns: %v", err)
			}
		})
	}
}

// TestCrashInACommit: a process that ends inside a transaction leaves no lock and nothing of that transaction
// behind. What it committed before is there.
func TestCrashInACommit(t *testing.T) {
	path := newPath(t)
	crashing := startChild(t, "crash", path)
	crashing.expect("inside")
	crashing.end()
	if left, err := filepath.Glob(path + "-wal"); err != nil || len(left) != 1 {
		t.Fatalf("the process closed the store instead of crashing: %q, %v", left, err)
	}
	s := openFor(t, path)
	wantIDs(t, s, "committed")
	mustInsert(t, s, "after")
	wantIDs(t, s, "committed", "after")
}

// TestTogether: ten processes that create a store at the same time create one store, and each sees what the
// others commit.
func TestTogether(t *testing.T) {
	path := newPath(t)
	all := make([]*child, 10)
	for i := range all {
		all[i] = startChild(t, "committer", path)
	}
	for _, c := range all {
		c.expect("ready")
	}
	for _, c := range all {
		c.send("go")
	}
	epoch := all[0].hear()
	for _, c := range all[1:] {
		c.expect(epoch)
	}
	for i, c := range all {
		c.send(string(rune('a' + i)))
	}
	for _, c := range all {
		c.hear()
	}
	for _, c := range all {
		c.send("")
		c.expect("10")
	}
	s := openFor(t, path)
	for _, c := range all {
		c.end()
	}
	if head := headOf(t, s); head.Epoch != epoch || head.Seq != 10 {
		t.Errorf("the head is %v, want seq 10 of epoch %s", head, epoch)
	}
	if got := idsOf(t, s); len(got) != 10 {
		t.Errorf("after ten commits the store has %q", got)
	}
}

// TestTogetherInOneProcess: the same with ten stores in one process, which share its locks.
func TestTogetherInOneProcess(t *testing.T) {
	path := newPath(t)
	opened := make(chan *Store)
	for range 10 {
		go func() {
			s, err := Open(path)
			if err != nil {
				t.Error(err)
			}
			opened <- s
		}()
	}
	epochs := map[string]bool{}
	for range 10 {
		s := kapitest.Receive(t, opened, "Open")
		if s == nil {
			continue
		}
		t.Cleanup(func() { closeStore(t, s) })
		epochs[headOf(t, s).Epoch] = true
		mustInsert(t, s, string(rune('a'+headOf(t, s).Seq)))
	}
	if len(epochs) != 1 {
		t.Errorf("ten stores opened at once have %d epochs", len(epochs))
	}
	if head := headOf(t, openFor(t, path)); head.Seq != 10 {
		t.Errorf("the head is %v after ten commits", head)
	}
}
