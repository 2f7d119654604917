package sqlite

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kettubot/kapi/internal/store"
)

// reopened opens and closes the store, and returns its head.
func reopened(t *testing.T, path string) store.Head {
	t.Helper()
	s := openAt(t, path)
	defer closeStore(t, s)
	return headOf(t, s)
}

// wantSame checks that the history continues.
func wantSame(t *testing.T, got, before store.Head) {
	t.Helper()
	if got != before {
		t.Errorf("the head became %v, was %v", got, before)
	}
}

// wantNew checks that opening the store begins a new history, and that the next change has a higher seq than
// all changes before.
func wantNew(t *testing.T, path string, before store.Head, highest uint64) {
	t.Helper()
	s := openAt(t, path)
	defer closeStore(t, s)
	if got := headOf(t, s); got.Epoch == before.Epoch || got.Seq < highest+store.Ahead {
		t.Errorf("the head became %v, was %v; want a new epoch, and a seq well ahead of %d", got, before, highest)
	}
	if got := mustInsert(t, s, "next"); got <= highest {
		t.Errorf("the next change gets seq %d, although %d was taken", got, highest)
	}
	wantSame(t, reopened(t, path), headOf(t, s)) // the new history continues
}

func TestEpochStays(t *testing.T) {
	path := newPath(t)
	a := openFor(t, path)
	if head := headOf(t, a); head.Epoch == "" || head.Seq != 0 {
		t.Errorf("a new store has %v", head)
	}
	mustInsert(t, a, "a")
	head := headOf(t, a)
	wantSame(t, headOf(t, openFor(t, path)), head)
	closeStore(t, a)
	wantSame(t, reopened(t, path), head)
	if other := makeStore(t, newPath(t)); other.Epoch == head.Epoch {
		t.Error("two stores have one epoch")
	}
}

// TestEpochOfACopy: a copy begins a new history, and the original's continues.
func TestEpochOfACopy(t *testing.T) {
	path, copied, both := newPath(t), newPath(t), newPath(t)
	head := makeStore(t, path, "a", "b", "c")
	writeFile(t, copied, readFile(t, path))
	writeFile(t, both, readFile(t, path))
	writeFile(t, both+"-wake", readFile(t, path+"-wake"))
	wantSame(t, reopened(t, path), head)
	wantNew(t, copied, head, 3)
	wantNew(t, both, head, 3)
	wantSame(t, reopened(t, path), head)
}

// TestEpochOfABackup: however a backup is restored, it begins a new history, whose seqs and fences are higher
// than those of the lost changes.
func TestEpochOfABackup(t *testing.T) {
	for name, restore := range map[string]func(t *testing.T, backup []byte, path string){
		"written over the file": func(t *testing.T, backup []byte, path string) {
			writeFile(t, path, backup)
		},
		"put into its place": func(t *testing.T, backup []byte, path string) {
			writeFile(t, path+".new", backup)
			rename(t, path+".new", path)
		},
		"after the file was removed": func(t *testing.T, backup []byte, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, backup)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			before := makeStore(t, path, "a", "b")
			backup := readFile(t, path)
			makeStore(t, path, "c", "d", "e")
			restore(t, backup, path)
			wantNew(t, path, before, 5)
		})
	}
}

// TestEpochOfABackupOfNow: a backup of the latest state, written over the same file, continues the history,
// because nothing was lost and nothing distinguishes the two.
func TestEpochOfABackupOfNow(t *testing.T) {
	path := newPath(t)
	head := makeStore(t, path, "a")
	writeFile(t, path, readFile(t, path))
	wantSame(t, reopened(t, path), head)
}

// TestEpochOfARemovedFile: a store that is created at the path of a removed one doesn't reuse its seqs.
func TestEpochOfARemovedFile(t *testing.T) {
	path := newPath(t)
	head := makeStore(t, path, "a", "b")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wantNew(t, path, head, 2)
}

// TestEpochOfAMovedFile: a store that is moved with its wake file continues its history. Without the wake
// file it may have been put back to an earlier time, so it begins a new epoch, from its own seq on.
func TestEpochOfAMovedFile(t *testing.T) {
	from := newPath(t)
	to, alone := filepath.Join(filepath.Dir(from), "to.db"), filepath.Join(filepath.Dir(from), "alone.db")
	head := makeStore(t, from, "a", "b")
	rename(t, from, to)
	rename(t, from+"-wake", to+"-wake")
	wantSame(t, reopened(t, to), head)
	rename(t, to, alone)
	wantNew(t, alone, head, 2)
}

// TestEpochUnderOpenHandles: stores that are open when a new history begins see it and continue in it.
func TestEpochUnderOpenHandles(t *testing.T) {
	path := newPath(t)
	a := openFor(t, path)
	mustInsert(t, a, "a")
	before := headOf(t, a)
	writeFile(t, path+"-wake", []byte(before.Epoch+" 100"))
	b := openFor(t, path)
	now := headOf(t, b)
	if now.Epoch == before.Epoch || now.Seq != 100+store.Ahead {
		t.Errorf("the head became %v, was %v; want a new epoch ahead of seq 100", now, before)
	}
	wantSame(t, headOf(t, a), now)
	mustInsert(t, a, "b")
	now.Seq++
	wantSame(t, headOf(t, b), now)
	wantSame(t, headOf(t, openFor(t, path)), now)
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
