package keep

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A process is what has the file open by itself: so are two descriptions in one process.
type process struct {
	*Keeper
	file *os.File
}

func (p process) try() bool { return p.Try(p.file) }

func processes(t *testing.T, path string, names ...string) []process {
	t.Helper()
	var all []process
	for _, name := range names {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		all = append(all, process{New(name), f})
	}
	return all
}

func TestOneKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "f")
		all := processes(t, path, "a", "a", "a", "b")
		for range 3 * beats {
			for i, p := range all {
				if keeps := p.try(); keeps != (i == 0 || i == 3) {
					t.Fatalf("process %d keeps: %v", i, keeps)
				}
			}
			time.Sleep(time.Second)
		}
		_ = all[0].file.Close() // it dies
		if !all[1].try() || all[2].try() {
			t.Error("not exactly the next one to ask follows one that died")
		}
	})
}

// One that is stopped is stood in for by one other, until it comes back.
func TestStoppedKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := processes(t, filepath.Join(t.TempDir(), "f"), "a", "a", "a")
		stopped := false
		second := func() (keepers []int) {
			for i, p := range all {
				if !(stopped && i == 0) && p.try() {
					keepers = append(keepers, i)
				}
			}
			time.Sleep(time.Second)
			return keepers
		}
		expect := func(what string, want int) {
			t.Helper()
			if got := second(); len(got) != 1 || got[0] != want {
				t.Errorf("%s: keepers are %v, want %d", what, got, want)
			}
		}
		expect("at first", 0)
		expect("then", 0)
		stopped = true
		if got := second(); len(got) != 0 {
			t.Errorf("it has only just stopped, and %v keep", got)
		}
		second()
		expect("it stands still", 1)
		expect("still", 1)
		stopped = false
		if all[0].try() {
			t.Error("it comes back and keeps while another stands in")
		}
		second() // the other sees it
		expect("it goes on", 0)
		stopped = true
		second()
		second()
		second()
		expect("it stands still again", 1)
		_ = all[0].file.Close()
		stopped = true
		expect("it died", 1)
		expect("and is followed", 1)
	})
}

// A file that was put in the place of the one before has the question settled anew.
func TestOtherFile(t *testing.T) {
	dir := t.TempDir()
	old := processes(t, filepath.Join(dir, "old"), "a", "a")
	if !old[0].try() || old[1].try() {
		t.Fatal("the first keeps")
	}
	now := processes(t, filepath.Join(dir, "new"), "a", "a")
	if !old[1].Try(now[0].file) || old[0].Try(now[1].file) {
		t.Error("in the new file the first to ask keeps")
	}
}

// Without locks each is a keeper.
func TestNoLocks(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if !New("a").Try(f) {
		t.Error("nobody keeps")
	}
}
