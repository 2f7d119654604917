package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/keep"
)

// locksOf returns the kernel's lines about this process's locks on the files of a store.
func locksOf(t *testing.T, path string) (locks []string) {
	t.Helper()
	all := string(readFile(t, "/proc/locks"))
	for _, end := range []string{"", "-shm"} {
		facts, err := factsOf(path + end)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(all) {
			f := strings.Fields(line)
			if len(f) == 8 && f[4] == fmt.Sprint(os.Getpid()) && strings.HasSuffix(f[5], fmt.Sprint(":", facts.inode)) {
				locks = append(locks, strings.Join(append([]string{"PATH" + end}, f[1:]...), " "))
			}
		}
	}
	slices.Sort(locks)
	return locks
}

// TestLocksStay: nothing that kapi does with SQLite's files costs the process its locks. Opening and closing a
// descriptor of one of them would release all locks on it, of all connections of the process.
func TestLocksStay(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	mustInsert(t, s, "a")
	s.Glance()
	before := locksOf(t, path)
	if len(before) < 2 {
		t.Fatalf("it has the locks %q, want those of a process that has the file and its log open", before)
	}
	for name, do := range map[string]func(){
		"another opens and closes": func() { closeStore(t, openAt(t, path)) },
		"reading":                  func() { headOf(t, s) },
		"writing":                  func() { mustInsert(t, s, "b") },
		"a glance": func() {
			if _, ok := s.Glance(); !ok {
				t.Error("there is no mark")
			}
		},
		"a new wake file": func() {
			must(t, os.Remove(path+"-wake"))
			if _, err := s.keepWake(kapitest.Within(t)); err != nil {
				t.Error(err)
			}
		},
		"taking a slot and reading it": func() {
			mustRun(t, s, "r")
			runnerOf(t, s, "r")
			must(t, os.Remove(path+"-runners"))
			mustRun(t, s, "r")
		},
		"files that are given another mode": func() {
			must(t, os.Chmod(path+"-wal", 0o644))
			must(t, os.Chmod(path+"-shm", 0o644))
			closeStore(t, openAt(t, path))
			for _, end := range []string{"-wal", "-shm"} {
				if now, err := factsOf(path + end); err != nil || now.mode != 0o600 {
					t.Errorf("PATH%s has mode %o (error: %v)", end, now.mode, err)
				}
			}
		},
		"finding a lock's holder": func() { _ = lockedBy(path, sqlite.ResultBusy.ToError()) },
		"a store that is refused": func() {
			must(t, os.Link(path, path+".link"))
			wantOpenRefused(t, path, "2 names")
			must(t, os.Remove(path+".link"))
		},
	} {
		do()
		if after := locksOf(t, path); !slices.Equal(after, before) {
			t.Errorf("%s: the locks are %q, were %q", name, after, before)
		}
	}
}

// TestStoppedHolder: the error of a call that waited in vain names the process that is stopped inside a
// transaction, and how to continue it.
func TestStoppedHolder(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	other := startChild(t, "lock", path)
	other.expect("locked")
	pid := other.cmd.Process.Pid
	host, err := os.Hostname()
	must(t, err)
	wantHolder := func(end string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(kapitest.Within(t), 20*time.Millisecond)
		defer cancel()
		_, err := insert(ctx, s, "a")
		wantRefusal(t, err, path, lockedByAnother)
		if want := fmt.Sprintf("pid %d (sqlite.test) on %s%s", pid, host, end); !strings.HasSuffix(err.Error(), want) {
			t.Errorf("the error is %v\nwant %s", err, want)
		}
	}
	wantHolder("")
	must(t, other.cmd.Process.Signal(syscall.SIGSTOP))
	kapitest.Eventually(t, "it is stopped", func() bool { return strings.Contains(nameProcess(pid), "which is stopped") })
	wantHolder(fmt.Sprintf(", which is stopped: continue it with kill -CONT %d", pid))
	must(t, other.cmd.Process.Signal(syscall.SIGCONT))
	other.end()
	mustInsert(t, s, "a")
}

// TestOpenNamesHolder: so does the error of Open.
func TestOpenNamesHolder(t *testing.T) {
	path := newPath(t)
	makeStore(t, path)
	other := startChild(t, "lock all", path)
	other.expect("locked")
	ctx, cancel := context.WithTimeout(kapitest.Within(t), 20*time.Millisecond)
	defer cancel()
	_, err := OpenContext(ctx, path)
	wantRefusal(t, err, path, fmt.Sprintf("pid %d (sqlite.test)", other.cmd.Process.Pid))
	other.end()
}

// TestRetries: errors that other processes cause are retried: until the context ends if they hold a lock, for
// a moment if they may be creating or removing files.
func TestRetries(t *testing.T) {
	for code, c := range map[sqlite.ResultCode]struct{ again, long bool }{
		sqlite.ResultBusy:             {true, true},
		sqlite.ResultBusyRecovery:     {true, true},
		sqlite.ResultBusySnapshot:     {true, true},
		sqlite.ResultProtocol:         {true, true},
		sqlite.ResultCantOpen:         {true, false},
		sqlite.ResultReadOnlyRecovery: {true, false},
		sqlite.ResultReadOnlyCantInit: {true, false},
		sqlite.ResultReadOnlyCantLock: {true, false},
		sqlite.ResultCorrupt:          {false, false},
		sqlite.ResultFull:             {false, false},
	} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			calls := 0
			err := retryBusy(kapitest.Within(t), func() error {
				if calls++; calls > 3 {
					return nil
				}
				return fmt.Errorf("step: %w", code.ToError())
			})
			if again := err == nil; again != c.again {
				t.Errorf("%v: retried: %v, want %v", code, again, c.again)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*shortly)
			began := time.Now()
			err = retryBusy(ctx, func() error { return code.ToError() })
			if long := ctx.Err() != nil; long != c.long && time.Since(began) < 2*shortly || err == nil {
				t.Errorf("%v: retried for %v, until the context ended: %v, want %v", code, time.Since(began), long, c.long)
			}
			cancel()
			if err := storeError(code.ToError()); !errors.Is(err, kapi.ErrUnavailable) || strings.HasPrefix(err.Error(), kapi.ErrUnavailable.Error()+": sqlite") {
				t.Errorf("%v: it is explained as %v", code, err)
			}
		})
	}
}

// A process that has a store open is found while other processes set and release many locks.
func TestHoldersBesideManyLocks(t *testing.T) {
	path := newPath(t)
	makeStore(t, path, "a")
	other := startChild(t, "keep", path)
	other.expect("open")
	defer other.end()
	file, err := factsOf(path)
	if err != nil {
		t.Fatal(err)
	}
	churnLocks(t)
	for range 40 {
		if pids := holders(path, file, lockShared, lockSharedSize); !slices.Equal(pids, []int{other.cmd.Process.Pid}) {
			t.Fatalf("processes %v have it open, want %d", pids, other.cmd.Process.Pid)
		}
	}
}

// churnLocks sets and releases locks all the time, until the test ends.
func churnLocks(t *testing.T) {
	stop := make(chan struct{})
	for range 2 {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				for _, set := range []func(*os.File, int64) error{
					func(f *os.File, at int64) error { _, err := keep.Lock(f, at); return err },
					keep.Unlock,
				} {
					for at := range int64(2000) {
						select {
						case <-stop:
							return
						default:
						}
						if err := set(f, 2*at); err != nil {
							t.Error(err)
							return
						}
					}
				}
			}
		}()
		t.Cleanup(func() { <-done; _ = f.Close() })
	}
	t.Cleanup(func() { close(stop) })
}
