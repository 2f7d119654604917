package keep

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// An election is a number of processes, of which some run.
type election struct {
	t   *testing.T
	all []process
}

// try lets processes try once a second, and returns those that were keepers in the last second.
func (e election) try(seconds int, running ...int) (keepers []int) {
	for range seconds {
		keepers = nil
		for _, i := range running {
			if e.all[i].try() {
				keepers = append(keepers, i)
			}
		}
		time.Sleep(time.Second)
	}
	return keepers
}

func (e election) expect(what string, got []int, want ...int) {
	e.t.Helper()
	if !slices.Equal(got, want) {
		e.t.Errorf("%s: keepers are %v, want %v", what, got, want)
	}
}

// TestStoppedDeputy: a keeper that continues while its deputy is stopped acts again.
func TestStoppedDeputy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := election{t, processes(t, filepath.Join(t.TempDir(), "f"), "a", "a", "a")}
		e.try(2, 0, 1, 2)
		e.expect("the keeper is stopped", e.try(4, 1, 2), 1)
		e.expect("it continues, and the deputy is stopped", e.try(3, 0, 2), 0)
		e.expect("both are running", e.try(3, 0, 1, 2), 0)
		e.all[0].Yield()
		e.expect("the keeper has yielded", e.try(1, 1, 2), 1)
		e.expect("it tries again", e.try(2, 0, 1, 2), 1)
	})
}

// TestStoppedDeputies: if the deputy is stopped, too, exactly one other process acts, and so on.
func TestStoppedDeputies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := election{t, processes(t, filepath.Join(t.TempDir(), "f"), "a", "a", "a", "a", "a")}
		e.expect("at first", e.try(2, 0, 1, 2, 3, 4), 0)
		e.expect("the keeper is stopped", e.try(4, 1, 2, 3, 4), 1)
		e.expect("and its deputy", e.try(4, 2, 3, 4), 2)
		e.expect("and that one's deputy", e.try(4, 3, 4), 3)
		e.expect("the second one continues", e.try(1, 3, 1, 4), 3, 1)
		e.expect("and a second later", e.try(1, 3, 1, 4), 1)
		e.expect("the keeper continues", e.try(1, 1, 0, 3, 4), 1, 0)
		e.expect("and a second later", e.try(1, 1, 0, 3, 4), 0)
		e.expect("later", e.try(3, 0, 1, 3, 4), 0)
		_ = e.all[0].file.Close()
		_ = e.all[1].file.Close()
		e.expect("both have died, while a deputy is stopped", e.try(2, 3, 4), 3)
		e.expect("it continues", e.try(3, 2, 3, 4), 3)
		_ = e.all[3].file.Close()
		e.expect("the keeper has died", e.try(1, 4, 2), 4)
	})
}

// TestKeeperStopsAgain: a deputy that has been stopped for long doesn't delay the one that stands in when the
// keeper is stopped again.
func TestKeeperStopsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := election{t, processes(t, filepath.Join(t.TempDir(), "f"), "a", "a", "a")}
		e.try(2, 0, 1)
		e.expect("the keeper is stopped", e.try(4, 1), 1)
		e.expect("it continues, the deputy is stopped, and another process begins", e.try(4, 0, 2), 0)
		e.expect("it is stopped again", e.try(3, 2), 2)
	})
}

// TestBeatReturns: a deputy that was stopped doesn't take the keeper for stopped because its beat has returned
// to the same position.
func TestBeatReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := election{t, processes(t, filepath.Join(t.TempDir(), "f"), "a", "a")}
		e.try(2, 0, 1)
		e.expect("the keeper is stopped", e.try(4, 1), 1)
		e.try(beats, 0)
		e.expect("it has continued, and its deputy continues", e.try(1, 1))
	})
}

// TestAllStopped: if the processes at all posts are stopped, each of the others is a keeper.
func TestAllStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := slices.Repeat([]string{"a"}, posts+2)
		e := election{t, processes(t, filepath.Join(t.TempDir(), "f"), names...)}
		var running []int
		for i := range e.all {
			running = append(running, i)
		}
		for post := range posts {
			e.expect(fmt.Sprint(post, " processes are stopped"), e.try(3, running[post:]...), post)
		}
		e.expect("all are stopped", e.try(3, posts, posts+1), posts, posts+1)
		e.expect("one continues, and has lost touch", e.try(3, 3, posts, posts+1), posts)
		_ = e.all[0].file.Close()
		e.expect("the keeper has died", e.try(2, posts+1, posts), posts+1)
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
