package keep

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A process stands for a real one: the locks tell open file descriptions apart, not processes.
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
		_ = all[0].file.Close() // as if it died
		if !all[1].try() || all[2].try() {
			t.Error("after the keeper died, the next process to ask is not the only keeper")
		}
	})
}

// TestStoppedKeeper: exactly one other process acts for a stopped keeper, until it continues.
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
			t.Errorf("the keeper has only just stopped, and %v are keepers", got)
		}
		second()
		expect("its beat has stopped", 1)
		expect("a second later", 1)
		stopped = false
		if all[0].try() {
			t.Error("the keeper continues, and is a keeper while there is a deputy")
		}
		second() // the deputy sees the beat
		expect("it continues", 0)
		stopped = true
		second()
		second()
		second()
		expect("its beat has stopped again", 1)
		_ = all[0].file.Close()
		stopped = true
		expect("it died", 1)
		expect("a second after it died", 1)
	})
}

// TestStoppedDeputy: a keeper that continues while its deputy is stopped acts again.
func TestStoppedDeputy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := processes(t, filepath.Join(t.TempDir(), "f"), "a", "a", "a")
		try := func(seconds int, running ...int) (keepers []int) {
			for range seconds {
				keepers = nil
				for _, i := range running {
					if all[i].try() {
						keepers = append(keepers, i)
					}
				}
				time.Sleep(time.Second)
			}
			return keepers
		}
		expect := func(what string, got []int, want int) {
			t.Helper()
			if len(got) != 1 || got[0] != want {
				t.Errorf("%s: keepers are %v, want %d", what, got, want)
			}
		}
		try(2, 0, 1, 2)
		expect("the keeper is stopped", try(4, 1, 2), 1)
		expect("it continues, and the deputy is stopped", try(6, 0, 2), 0)
		expect("both are running", try(3, 0, 1, 2), 0)
		all[0].Yield()
		expect("the keeper has yielded", try(1, 1, 2), 1)
		expect("it tries again", try(2, 0, 1, 2), 1)
	})
}

// TestOtherFile: with another file, the election starts over.
func TestOtherFile(t *testing.T) {
	dir := t.TempDir()
	old := processes(t, filepath.Join(dir, "old"), "a", "a")
	if !old[0].try() || old[1].try() {
		t.Fatal("the first process to ask is not the only keeper")
	}
	now := processes(t, filepath.Join(dir, "new"), "a", "a")
	if !old[1].Try(now[0].file) || old[0].Try(now[1].file) {
		t.Error("with the new file, the first process to ask is not the only keeper")
	}
}

// TestNoLocks: without locks each process is a keeper.
func TestNoLocks(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if !New("a").Try(f) {
		t.Error("without locks a process is not a keeper")
	}
}
