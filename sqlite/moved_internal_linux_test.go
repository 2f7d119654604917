package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
)

const secret = "precious, and for its owner's eyes only; more than a mark has room for: 0123456789\n"

// strangersStore creates a store in a folder; both belong to another user.
func strangersStore(t *testing.T, mode os.FileMode, ids ...string) (path string) {
	t.Helper()
	folder, err := os.MkdirTemp("", "theirs")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path = filepath.Join(folder, "kapi.db")
	makeStore(t, path, ids...)
	for _, name := range []string{folder, path, path + "-wake"} {
		must(t, os.Chown(name, 60001, 60001))
	}
	must(t, os.Chmod(path, mode))
	return path
}

// TestMovedToASide: a user who may write to a store's folder can move another user's file to the path of a
// side file. The file stays as it is: its owner and mode don't change.
func TestMovedToASide(t *testing.T) {
	asRoot(t)
	const refused = "is not recognised as a file of the store's"
	for name, c := range map[string]struct {
		mode  os.FileMode
		owner int
	}{
		"root's":                                {0o600, 0},
		"root's, all may write to the store":    {0o666, 0},
		"another's, all may write to the store": {0o666, 60003},
	} {
		for _, end := range []string{"-wake", "-runners", "-wal", "-shm", "-journal"} {
			path := strangersStore(t, c.mode, "a")
			if end == "-shm" {
				writeFile(t, path+"-wal", nil) // else SQLite ignores it
				must(t, os.Chown(path+"-wal", 60001, 60001))
			}
			writeFile(t, path+end, []byte(secret))
			must(t, os.Chown(path+end, c.owner, c.owner))
			must(t, os.Chmod(path+end, 0o600))
			if end == "-shm" && c.owner != 0 { // its content isn't checked: the store's owner can't open it
				wantOpenRefused(t, path, "it can't be opened")
			} else {
				wantOpenRefused(t, path, path+end+": belongs to user ")
				wantOpenRefused(t, path, refused)
			}
			now, err := factsOf(path + end)
			if got := string(readFile(t, path+end)); got != secret || err != nil || int(now.uid) != c.owner || now.mode != 0o600 {
				t.Errorf("%s, %s: it belongs to %d, has mode %o, and is %q (error: %v)", name, end, now.uid, now.mode, got, err)
			}
			must(t, os.Remove(path+end))
			s := openFor(t, path)
			wantIDs(t, s, "a")
		}
	}
}

// TestMovedToASideWhileOpen: the same while the store is open and its wake file is created again.
func TestMovedToASideWhileOpen(t *testing.T) {
	asRoot(t)
	path := strangersStore(t, 0o600, "a")
	s := openFor(t, path)
	victim := filepath.Join(t.TempDir(), "victim")
	writeFile(t, victim, []byte(secret))
	rename(t, victim, path+"-wake")
	writeFile(t, path+"-runners", []byte(secret))
	for range 2 {
		mustRun(t, s, "r") // it does without a slot
	}
	if now, err := factsOf(path + "-runners"); err != nil || now.uid != 0 || string(readFile(t, path+"-runners")) != secret {
		t.Errorf("PATH-runners belongs to %d (error: %v), and is %q", now.uid, err, readFile(t, path+"-runners"))
	}
	if _, err := s.keepWake(kapitest.Within(t)); err == nil || !strings.Contains(err.Error(), "is not recognised as a file of the store's") {
		t.Errorf("the wake file is accepted (error: %v)", err)
	}
	if now, err := factsOf(path + "-wake"); err != nil || now.uid != 0 || string(readFile(t, path+"-wake")) != secret {
		t.Errorf("it belongs to %d (error: %v), and is %q", now.uid, err, readFile(t, path+"-wake"))
	}
}

// TestOwnFileUnderASidesName: if another file of the owner's has the name of a side file, its mode isn't
// changed, so users who may read the store can't read it.
func TestOwnFileUnderASidesName(t *testing.T) {
	for _, end := range []string{"-wake", "-runners", "-wal"} {
		path := newPath(t)
		makeStore(t, path, "a")
		chmod(t, path, 0o644)
		writeFile(t, path+end, []byte(secret))
		mustRun(t, openFor(t, path), "r")
		if now, err := factsOf(path + end); err != nil || now.mode != 0o600 {
			t.Errorf("PATH%s has mode %o (error: %v)", end, now.mode, err)
		}
	}
}

// TestMovedMeanwhile: a file of root's that is moved to the path of a side file, at any moment, isn't given
// away, and nothing is written to it.
func TestMovedMeanwhile(t *testing.T) {
	asRoot(t)
	path := strangersStore(t, 0o600, "a")
	victim := path + ".victim"
	writeFile(t, victim, []byte(secret))
	f, err := os.Open(victim)
	must(t, err)
	defer f.Close()
	mover := startChildAs(t, "mover", path, 60001, 60001, 60001)
	mover.expect("moving")
	for range 150 {
		s, err := OpenWith(kapitest.Within(t), path, Options{Warn: func(string) {}})
		if err == nil {
			_, _ = insert(kapitest.Within(t), s, newEpoch())
			_ = s.Renew(kapitest.Within(t), ownRunner(newEpoch()))
			_ = s.Close()
		}
		now, err := f.Stat()
		must(t, err)
		data := make([]byte, len(secret))
		_, err = f.ReadAt(data, 0)
		if uid := now.Sys().(*syscall.Stat_t).Uid; uid != 0 || now.Mode() != 0o600 || string(data) != secret {
			t.Fatalf("it belongs to %d, has mode %v, and is %q (error: %v)", uid, now.Mode(), data, err)
		}
	}
	mover.end()
}

// TestRootsSides: a file of root's, even one of another store of root's, isn't given to a user or read into
// their store. Only a wake file that an older kapi has left is given to them.
func TestRootsSides(t *testing.T) {
	asRoot(t)
	path, other := strangersStore(t, 0o600, "a"), newPath(t)
	crashed := startChild(t, "crash", other) // root's store, with the side files that a crash leaves
	crashed.expect("inside")
	_ = crashed.cmd.Wait()
	for _, end := range []string{"-wal", "-shm"} {
		log := readFile(t, other+end)
		writeFile(t, path+"-wal", nil)
		must(t, os.Chown(path+"-wal", 60001, 60001))
		must(t, errors.Join(os.RemoveAll(path+end), os.WriteFile(path+end, log, 0o600)))
		wantOpenRefused(t, path, path+end+": belongs to user 0, not to the store's owner")
		if now, err := factsOf(path + end); err != nil || now.uid != 0 || !bytes.Equal(readFile(t, path+end), log) {
			t.Errorf("PATH%s belongs to %d (error: %v), or has changed", end, now.uid, err)
		}
		must(t, errors.Join(os.Remove(path+end), os.RemoveAll(path+"-wal")))
	}
	writeFile(t, path+"-wake", nil) // some process may have it open for writing
	must(t, os.Chown(path+"-wake", 0, 0))
	wantOpenRefused(t, path, path+"-wake: belongs to user 0")
	writeFile(t, path+"-wake", []byte(mark{strings.Repeat("e", epochLength), 17}.text()))
	s := openFor(t, path)
	kapitest.Eventually(t, "it is there", func() bool { return headOf(t, s).Seq > 17 })
	if now, err := factsOf(path + "-wake"); err != nil || now.uid != 60001 {
		t.Errorf("the mark belongs to %d (error: %v)", now.uid, err)
	}
}

// TestUnfinishedSides: a side file that SQLite had not finished when the process crashed is accepted,
// whichever of the users who share the store created it.
func TestUnfinishedSides(t *testing.T) {
	asRoot(t)
	const group, member = 60002, 60003
	for name, c := range map[string]struct {
		end  string
		data []byte
	}{
		"an index of three bytes":    {"-shm", make([]byte, 3)},
		"an index without a header":  {"-shm", make([]byte, 32768)},
		"a journal without its name": {"-journal", append(append(make([]byte, 20), 0, 0, 2, 0, 0, 0, 16, 0), make([]byte, 484)...)},
		"an empty log":               {"-wal", nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := strangersStore(t, 0o660, "a")
			must(t, errors.Join(os.Chown(filepath.Dir(path), 60001, group), os.Chmod(filepath.Dir(path), 0o770), os.Chown(path, 60001, group), os.Chmod(path, 0o660)))
			must(t, errors.Join(os.Chown(path+"-wake", 60001, group), os.Chmod(path+"-wake", 0o660)))
			for _, uid := range []int{member, 60001, 60004} {
				writeFile(t, path+"-wal", nil)
				writeFile(t, path+c.end, c.data)
				for _, end := range []string{"-wal", c.end} {
					must(t, errors.Join(os.Chown(path+end, member, group), os.Chmod(path+end, 0o660)))
				}
				other := startChildAs(t, "keep", path, uid, uid, group)
				other.expect("open")
				other.end()
			}
			writeFile(t, path+"-wal", nil)
			writeFile(t, path+c.end, c.data)
			for _, end := range []string{"-wal", c.end} {
				must(t, errors.Join(os.Chown(path+end, member, group), os.Chmod(path+end, 0o660)))
			}
			wantIDs(t, openFor(t, path), "a")
		})
	}
}

// TestForms: hasForm accepts what kapi and SQLite write under each name, and nothing else.
func TestForms(t *testing.T) {
	for _, c := range []struct {
		end, head string
		want      bool
	}{
		{"-wake", mark{strings.Repeat("e", epochLength), 17}.text(), true},
		{"-wake", mark{strings.Repeat("e", epochLength-1), 17}.text(), false},
		{"-wake", mark{strings.Repeat("e", epochLength), 17}.text() + "x", false},
		{"-wake", "hunter2 4711\n", false},
		{"-wake", strings.Repeat("\x00", 64), false},
		{"-runners", string(newHeader()), true},
		{"-runners", string(newHeader()) + "x", true},
		{"-runners", "", true},
		{"-runners", strings.Repeat("\x00", 64), true},
		{"-runners", string(newHeader()[:63]), false},
		{"-runners", "x" + string(newHeader()[1:]), false},
		{"-runners", string(newHeader()[:62]) + "x\n", false},
		{"-runners", "hunter2 4711\n", false},
		{"-wal", "\x37\x7f\x06\x82\x00\x2d\xe2\x18", true},
		{"-wal", "\x37\x7f\x06\x83\x00\x2d\xe2\x18", true},
		{"-wal", "\x37\x7f\x06\x84\x00\x2d\xe2\x18", false},
		{"-wal", "\x37\x7f\x06\x82\x00\x2d\xe2\x17", false},
		{"-wal", "\x37\x7f\x06\x82", false},
		{"-journal", "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + strings.Repeat("\x00", 12) + "\x00\x00\x02\x00\x00\x00\x10\x00", true},
		{"-journal", strings.Repeat("\x00", 12) + "nonce---" + "\x00\x00\x02\x00\x00\x00\x10\x00", true},
		{"-journal", strings.Repeat("\x00", 12) + "nonce---" + "\x00\x00\x02\x01\x00\x00\x10\x00", false},
		{"-journal", strings.Repeat("\x00", 28), false},
		{"-journal", "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", false},
	} {
		if got := hasForm(c.end, []byte(c.head)); got != c.want {
			t.Errorf("%s, %q: %v", c.end, c.head, got)
		}
	}
}

// TestLocksOfAnotherFileSystem: a lock on a file with the same inode number on another file system doesn't
// count.
func TestLocksOfAnotherFileSystem(t *testing.T) {
	if !kapitest.WithMounts(t, true) {
		return
	}
	one, other := filepath.Join(kapitest.NewDisk(t, "size=16m").Folder, "kapi.db"), filepath.Join(kapitest.NewDisk(t, "size=16m").Folder, "kapi.db")
	writeFile(t, one, nil)
	writeFile(t, other, nil)
	now, err := factsOf(one) // the other file may have the same inode number
	must(t, err)
	locker := startChild(t, "lock", one)
	locker.expect("locked")
	for path, want := range map[string]int{one: 1, other: 0} {
		if got := holders(path, now, lockPending, lockPendingSize+lockSharedSize); len(got) != want {
			t.Errorf("%s is locked by %v, want %d", path, got, want)
		}
	}
	locker.end()
}
