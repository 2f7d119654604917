package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// roleRun is a runner that renews itself once for each line of its stdin. After "close" it settles and closes the
// store; at the end of its stdin it just ends.
func roleRun(path string, in *bufio.Scanner) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("runner-%d", os.Getpid())
	for {
		if err := s.Renew(context.Background(), ownRunner(id)); err != nil {
			return err
		}
		fmt.Println(id)
		if !in.Scan() {
			return nil
		}
		if in.Text() == "close" {
			s.Depart(store.DepartSettled)
			err := s.Close()
			fmt.Println("closed")
			return err
		}
	}
}

// startRunner starts a process that renews itself on a store, and returns its runner's id.
func startRunner(t testing.TB, path string) (*child, string) {
	c := startChild(t, "run", path)
	return c, c.hear()
}

// TestRenewalIsNoCommit: renewing the process's own runner changes neither database nor log, waits for no lock, and
// is visible to others.
func TestRenewalIsNoCommit(t *testing.T) {
	path := newPath(t)
	s, other := openFor(t, path), openFor(t, path)
	mustRun(t, s, "r")
	mustRun(t, other, "another") // a runner that isn't a process's own is renewed by a commit
	before := runnerOf(t, other, "r")
	log := readFile(t, path+"-wal")
	locker := startChild(t, "lock", path)
	locker.expect("locked")
	for range 3 {
		mustRun(t, s, "r")
	}
	locker.end()
	now := runnerOf(t, other, "r")
	if now.Beat != before.Beat+3 || now.HeardAt < before.HeardAt {
		t.Errorf("after 3 renewals it is\n%+v, was\n%+v", now, before)
	}
	if string(readFile(t, path+"-wal")) != string(log) {
		t.Error("the log has changed")
	}
	if now := runnerOf(t, s, "r"); now.Lock != store.LockHeld {
		t.Errorf("its own store says its lock is %v", now.Lock)
	}
	if now.Lock != store.LockHeld || now.Working {
		t.Errorf("its lock is %v, working %v", now.Lock, now.Working)
	}
}

// TestRenewalsOnAFullDisk: renewals need no room.
func TestRenewalsOnAFullDisk(t *testing.T) {
	if !kapitest.WithMounts(t, true) {
		return
	}
	d := kapitest.NewDisk(t, "size=1m")
	s := openFor(t, filepath.Join(d.Folder, "kapi.db"))
	mustRun(t, s, "r")
	fillWithCommits(t, s, d)
	before := runnerOf(t, s, "r").Beat
	mustRun(t, s, "r")
	if got := runnerOf(t, s, "r").Beat; got != before+1 {
		t.Errorf("its Beat is %d, was %d", got, before)
	}
}

// TestLockProvesLife: a runner holds its lock from its first renewal until it is closed or dies.
func TestLockProvesLife(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	killed, first := startRunner(t, path)
	closed, second := startRunner(t, path)
	for _, id := range []string{first, second} {
		if got := runnerOf(t, s, id).Lock; got != store.LockHeld {
			t.Errorf("%s lives, and its lock is %v", id, got)
		}
	}
	_ = killed.cmd.Process.Kill()
	_ = killed.cmd.Wait()
	if got := runnerOf(t, s, first).Lock; got != store.LockFree {
		t.Errorf("it was killed, and its lock is %v", got)
	}
	closed.send("close")
	closed.expect("closed")
	if got := runnerOf(t, s, second).Lock; got == store.LockHeld {
		t.Error("it is closed, and has its lock")
	}
}

// TestLocksKeptElsewhere: on a file system whose locks something other than this kernel may keep, such as a folder shared
// with a virtual machine, a held lock proves that the runner is alive, and a free one nothing.
func TestLocksKeptElsewhere(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	runner, id := startRunner(t, path)
	runnerOf(t, s, id)
	s.roster.open.remote = true
	if got := runnerOf(t, s, id).Lock; got != store.LockHeld {
		t.Errorf("it lives, and its lock is %v", got)
	}
	_ = runner.cmd.Process.Kill()
	_ = runner.cmd.Wait()
	if got := runnerOf(t, s, id).Lock; got != store.LockUnknown {
		t.Errorf("its lock is %v, although a server keeps it", got)
	}
}

// TestWorkLock: while a process has inherited the lock of a runner's work, the work is known to continue, even without
// the runner, and its slot is given to nobody.
func TestWorkLock(t *testing.T) {
	path := newPath(t)
	s, other := openAt(t, path), openFor(t, path)
	if s.LockWork() != nil {
		t.Error("there is a lock without a runner")
	}
	mustRun(t, s, "r")
	for _, s := range []*Store{s, other} {
		if got := runnerOf(t, s, "r"); got.Working || got.Lock != store.LockHeld {
			t.Errorf("the runner is %+v", got)
		}
	}
	f := s.LockWork()
	if f == nil {
		t.Fatal("there is no lock")
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a process that inherits it may write to it")
	}
	heir := osexec.Command("sleep", "600")
	heir.ExtraFiles = []*os.File{f}
	must(t, heir.Start())
	must(t, f.Close())
	s.Depart(store.DepartUnsettled)
	closeStore(t, s)
	s = other
	if got := runnerOf(t, other, "r"); !got.Working || got.Lock != store.LockFree {
		t.Errorf("without its runner it is %+v", got)
	}
	mustInsert(t, other, "a")
	forgetRunners(t, other)
	for i := range 10 {
		next := openAt(t, path)
		mustRun(t, next, fmt.Sprint("next", i))
		if runnerOf(t, other, fmt.Sprint("next", i)).Working {
			t.Error("another's work is taken for the runner's")
		}
		next.Depart(store.DepartSettled)
		closeStore(t, next)
	}
	_ = heir.Process.Kill()
	_ = heir.Wait()
}

// TestWorkOutlivesClose: a runner whose work continues after its store is closed is alive until the process ends.
func TestWorkOutlivesClose(t *testing.T) {
	for how, want := range map[store.Departure]store.Lock{
		store.DepartUnsettled: store.LockFree, store.DepartSettled: store.LockUnknown, store.DepartWorking: store.LockHeld,
	} {
		path := newPath(t)
		s, other := openAt(t, path), openFor(t, path)
		mustRun(t, s, "r")
		s.Depart(how)
		closeStore(t, s)
		if got := runnerOf(t, other, "r").Lock; got != want {
			t.Errorf("departure %d: the lock is %v, want %v", how, got, want)
		}
	}
}

// TestOtherFileProvesNothing: a free lock in another file of slots proves nothing. The runner continues, by a commit,
// in the file that is there, and its beat never decreases.
func TestOtherFileProvesNothing(t *testing.T) {
	aCopy := func(t *testing.T, roster string) {
		data := readFile(t, roster)
		must(t, errors.Join(os.Remove(roster), os.WriteFile(roster, data, 0o600)))
	}
	for name, do := range map[string]func(t *testing.T, roster string){
		"removed":            func(t *testing.T, roster string) { must(t, os.Remove(roster)) },
		"a copy of it":       aCopy,
		"wiped":              func(t *testing.T, roster string) { writeFile(t, roster, make([]byte, 640)) },
		"truncated":          func(t *testing.T, roster string) { must(t, os.Truncate(roster, 0)) },
		"truncated in half":  func(t *testing.T, roster string) { must(t, os.Truncate(roster, 100)) },
		"something else":     func(t *testing.T, roster string) { writeFile(t, roster, []byte(secret)) },
		"a slot of another":  func(t *testing.T, roster string) { writeSlot(t, roster, slot{"somebody", 7, 7}.encode()) },
		"a slot of nonsense": func(t *testing.T, roster string) { writeSlot(t, roster, [slotSize]byte{9, 9, 9, 9, 9, 9, 9}) },
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			s, other := openFor(t, path), openFor(t, path)
			for range 3 {
				mustRun(t, s, "r")
			}
			last := runnerOf(t, other, "r").Beat
			do(t, path+runnersName)
			if got := runnerOf(t, other, "r"); got.Lock == store.LockFree {
				t.Errorf("a live runner's lock is free")
			}
			last = min(last, runnerOf(t, other, "r").Beat) // beats in a lost slot can't be read for now
			for range 3 {
				mustRun(t, s, "r")
				now := runnerOf(t, other, "r")
				if now.Beat <= last || now.Lock == store.LockFree {
					t.Errorf("after a renewal: beat %d, was %d, lock %v", now.Beat, last, now.Lock)
				}
				last = now.Beat
			}
			if last != 6 {
				t.Errorf("after 6 renewals its beat is %d", last)
			}
			if got := string(readFile(t, path+runnersName)); name == "something else" && got != secret {
				t.Errorf("a file that isn't kapi's has become %q", got)
			}
		})
	}
}

// writeSlot overwrites the first slot.
func writeSlot(t *testing.T, roster string, content [slotSize]byte) {
	t.Helper()
	f, err := os.OpenFile(roster, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(content[:], slotSize)
	must(t, errors.Join(err, f.Close()))
}

// TestStoreReplacedUnderARunner: a runner whose store's file is replaced keeps its lock all the time, and continues in
// the new file.
func TestStoreReplacedUnderARunner(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	mustRun(t, s, "r")
	mustRun(t, s, "r")
	removeAll(t, path)
	other := openFor(t, path)
	mustRun(t, s, "r")
	mustRun(t, s, "r")
	if now := runnerOf(t, other, "r"); now.Beat == 0 || now.Lock != store.LockHeld {
		t.Errorf("in the new file it is %+v", now)
	}

	// The file is missing for a moment, but its slots are there.
	rename(t, path, path+".away")
	if err := s.Renew(canceled(), ownRunner("r")); err == nil {
		t.Error("a renewal without a file")
	}
	look, err := os.OpenFile(path+runnersName, os.O_RDWR, 0)
	must(t, err)
	defer look.Close()
	held := false
	for number := int64(1); number < 8; number++ {
		locked, err := byteLocked(look, runnerLocks+number)
		must(t, err)
		held = held || locked
	}
	if !held {
		t.Error("it has released its lock, although it is alive")
	}
	rename(t, path+".away", path)
	mustRun(t, s, "r")
	if now := runnerOf(t, openFor(t, path), "r"); now.Lock != store.LockHeld {
		t.Errorf("back in its file it is %+v", now)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestSlotsAreReused: a runner that leaves nothing behind frees its slot. A dead runner's slot is freed when its row is
// deleted. The file never shrinks.
func TestSlotsAreReused(t *testing.T) {
	path := newPath(t)
	keeper := openFor(t, path)
	mustInsert(t, keeper, "a")
	size := func() int64 {
		info, err := os.Stat(path + runnersName)
		must(t, err)
		return info.Size()
	}
	use := func(id string, how store.Departure) {
		s := openAt(t, path)
		mustRun(t, s, id)
		s.Depart(how)
		closeStore(t, s)
	}
	use("first", store.DepartSettled)
	one := size()
	for i := range 10 {
		use(fmt.Sprint("settled", i), store.DepartSettled)
	}
	if got := size(); got != one {
		t.Errorf("after 11 runners that left nothing the file has %d bytes, after one %d", got, one)
	}
	for i := range 5 {
		use(fmt.Sprint("dead", i), store.DepartUnsettled)
	}
	for i := range 5 {
		if got := runnerOf(t, keeper, fmt.Sprint("dead", i)); got.Lock != store.LockFree || got.Beat != 1 {
			t.Errorf("a dead runner is %+v", got)
		}
	}
	all := size()
	forgetRunners(t, keeper)
	if now := size(); now != all {
		t.Errorf("the file had %d bytes, and has %d", all, now)
	}
	for i := range 10 {
		use(fmt.Sprint("later", i), store.DepartSettled)
	}
	if now := size(); now > all+slotSize {
		t.Errorf("the file had %d bytes, and has %d", all, now)
	}
}

// forgetRunners purges all runners that no record names.
func forgetRunners(t *testing.T, s *Store) {
	t.Helper()
	_, err := s.writeIn(kapitest.Within(t), func(f *file, c *sqlite.Conn) (bool, error) {
		return true, s.forgetRunners(f, c, 1<<60)
	})
	must(t, err)
}

// TestManySlots: each of many runners finds a slot of its own.
func TestManySlots(t *testing.T) {
	path := newPath(t)
	var all []*Store
	const many = 30
	for i := range many {
		s := openFor(t, path)
		mustRun(t, s, fmt.Sprint("r", i))
		all = append(all, s)
	}
	for i, s := range all {
		for range i {
			mustRun(t, s, fmt.Sprint("r", i))
		}
	}
	for i := range many {
		if got := runnerOf(t, all[0], fmt.Sprint("r", i)); got.Beat != uint64(i+1) || got.Lock != store.LockHeld {
			t.Errorf("runner %d is %+v", i, got)
		}
	}
}

// TestTornSlot: a slot that is half written, or that kapi can't have written, is ignored.
func TestTornSlot(t *testing.T) {
	whole := slot{"r", 5, 6}.encode()
	if got, ok := decodeSlot(&whole); !ok || got != (slot{"r", 5, 6}) {
		t.Errorf("%+v, %v", got, ok)
	}
	for at := slotFormAt; at < slotSize; at++ {
		torn := whole
		torn[at] ^= 0x10
		if got, ok := decodeSlot(&torn); ok {
			t.Errorf("with another byte %d it is read as %+v", at, got)
		}
	}
	far := slot{"r", highestBeat + 1, 6}.encode()
	if _, ok := decodeSlot(&far); ok {
		t.Error("a beat is accepted that is too high to add to")
	}
}
