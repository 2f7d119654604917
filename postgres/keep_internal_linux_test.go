package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/internal/store"
)

// TestOneKeeper: of the stores of one database one is the keeper, also after its file was removed, and another
// one after it was closed. A restored copy has a keeper of its own.
func TestOneKeeper(t *testing.T) {
	database := server.Database(t)
	first := openAt(t, server.DSN(database), Options{})
	second := openFor(t, server.DSN(database))
	if !first.Keep("ns") || second.Keep("ns") {
		t.Error("the first to ask is not the only keeper")
	}
	if !openFor(t, server.DSN(database)).Keep("another namespace") {
		t.Error("another PID namespace has no keeper")
	}
	removed := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "kapi", first.side.name)
	if err := os.Remove(removed); err != nil {
		t.Fatal(err)
	}
	if !second.Keep("ns") || first.Keep("ns") {
		t.Error("the first to ask after the file was removed is not the only keeper")
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if !first.Keep("ns") {
		t.Error("nobody follows a keeper that is closed")
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	other, _ := newStore(t)
	if other.side.name == first.side.name {
		t.Error("two databases share a keeper")
	}
}

// TestSideFolder: files are shared only in a folder that is this user's alone.
func TestSideFolder(t *testing.T) {
	user := strconv.Itoa(os.Geteuid())
	if _, err := os.Stat("/run/user/" + user); err == nil && os.Getenv("XDG_RUNTIME_DIR") == "" {
		t.Fatal("the test needs XDG_RUNTIME_DIR")
	}
	makes := func(t *testing.T, want string) {
		t.Helper()
		f, err := openSide("shared")
		if err == nil {
			defer f.Close()
		}
		if _, stat := os.Lstat(filepath.Join(want, "shared")); (err == nil) != (want != "") || want != "" && stat != nil {
			t.Errorf("opening it: %v, and %v; it should be in %q", err, stat, want)
		}
		if err == nil && !inPlace(f) {
			t.Error("it is not in its place")
		}
	}
	runtime, temporary, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
	own := filepath.Join(temporary, "kapi-"+user)
	t.Setenv("TMPDIR", temporary)
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	chmod := func(path string, mode os.FileMode) {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(runtime, 0o700)
	makes(t, filepath.Join(runtime, "kapi"))
	if _, err := os.Stat("/run/user/" + user); err == nil {
		t.Skip("this user has a runtime directory besides")
	}
	chmod(runtime, 0o755) // others may look into it
	makes(t, own)
	chmod(own, 0o770)
	makes(t, "")
	if err := os.RemoveAll(own); err != nil {
		t.Fatal(err)
	}
	chmod(elsewhere, 0o700)
	if err := os.Symlink(elsewhere, own); err != nil {
		t.Fatal(err)
	}
	makes(t, "")
	if os.Geteuid() == 0 {
		if err := os.Remove(own); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(own, 1, 1); err != nil {
			t.Fatal(err)
		}
		makes(t, "")
	}
}

// TestLinkedSide: a link or a second name in place of the file is not opened.
func TestLinkedSide(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", folder)
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := openSide("first")
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	in := func(name string) string { return filepath.Join(folder, "kapi", name) }
	if err := os.Symlink("first", in("symbolic")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(in("first"), in("hard")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"symbolic", "hard"} {
		if f, err := openSide(name); err == nil {
			_ = f.Close()
			t.Errorf("the %s link was opened", name)
		}
	}
}

// TestBell: the keeper rings for a light peer, whether the commit is by a process of this machine, or by one
// elsewhere of which the keeper learns by a notification, or only by reading. Other commits don't ring.
func TestBell(t *testing.T) {
	for name, deaf := range map[string]bool{"listening": false, "polling": true} {
		t.Run(name, func(t *testing.T) {
			database := server.Database(t)
			o := Options{}
			if deaf {
				o.ListenDSN = server.DSN(server.Database(t))
			}
			keeper := openAt(t, server.DSN(database), o)
			light, here, elsewhere := openFor(t, server.DSN(database)), openFor(t, server.DSN(database)), openFor(t, server.DSN(database))
			elsewhere.side.end()
			mustCommitBy(t, light, "a", "r")
			if _, ok := light.Rung("r"); ok {
				t.Error("without a keeper it can tell")
			}
			stop, kept := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(kept)
				for {
					keeper.Keep("ns")
					select {
					case <-time.After(ringEvery):
					case <-stop:
						return
					}
				}
			}()
			var before uint64
			kapitest.Eventually(t, "it can tell", func() (ok bool) {
				before, ok = light.Rung("r")
				return ok && (deaf || keeper.hears.Load() && !keeper.missed.Load())
			})
			rings := func(from *Store, what string, wake ...string) {
				t.Helper()
				mustCommitBy(t, from, what, "other", wake...)
				kapitest.Eventually(t, "it rings for "+what, func() bool {
					now, ok := light.Rung("r")
					rung := ok && now != before
					if rung {
						before = now
					}
					return rung
				})
			}
			rings(here, "a commit here", "r")
			if deaf {
				ids := query[string](t, database, `UPDATE kapi.actions SET seq = (SELECT seq + 1 FROM kapi.head) WHERE id = 'a' RETURNING id`)
				_ = query[int64](t, database, `UPDATE kapi.head SET seq = seq + 1 RETURNING seq`)
				kapitest.Eventually(t, "it rings for a changed record of "+ids, func() bool {
					now, ok := light.Rung("r")
					return ok && now != before
				})
			} else {
				rings(elsewhere, "a commit elsewhere", "nobody", "r")
				mustCommitBy(t, elsewhere, "foreign", "other", "nobody")
				rings(elsewhere, "the next one", "r")
			}
			close(stop)
			<-kept
			if err := keeper.Close(); err != nil {
				t.Error(err)
			}
			kapitest.Eventually(t, "it can't tell any more", func() bool { _, ok := light.Rung("r"); return !ok })
		})
	}
}

// mustCommitBy commits an action of a runner, as a light peer.
func mustCommitBy(t *testing.T, s *Store, id, runner string, wake ...string) {
	t.Helper()
	err := s.Commit(kapitest.Within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
		r := record(id, l.Seq+1, runner)
		return store.Writes{Head: r.Seq, Insert: []store.Record{r}, Wake: wake}, nil
	})
	if err != nil {
		t.Fatalf("commit of %s: %v", id, err)
	}
}

// TestCopiedDatabase: the keeper of a database is not that of a copy of it, also if that is a copy of the whole server.
func TestCopiedDatabase(t *testing.T) {
	primary := pgtest.For(t, pgtest.Options{Durable: true, TCP: true, Settings: map[string]string{"max_connections": "30"}})
	standby := primary.Standby(t, false)
	first := openFor(t, pgtest.DSN("postgres", primary))
	mustCommitBy(t, first, "a", "r")
	primary.AwaitFlush(t)
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	second := openFor(t, pgtest.DSN("postgres", standby))
	if !first.Keep("ns") || !second.Keep("ns") {
		t.Error("one of them has no keeper")
	}
}

// TestKeeperAgain: a process that becomes the keeper again rings for all, as it doesn't know what happened meanwhile.
func TestKeeperAgain(t *testing.T) {
	database := server.Database(t)
	first := openFor(t, server.DSN(database))
	second := openAt(t, server.DSN(database), Options{})
	woken, _ := listening(t, first) // for the peer, so it goes on
	kapitest.Receive(t, woken, "the first wake-up")
	canTell := func(want bool) (mark uint64) {
		t.Helper()
		kapitest.Eventually(t, fmt.Sprintf("it is %v that the bell can tell", want), func() (ok bool) {
			first.Keep("ns")
			mark, ok = first.Rung("r")
			return ok == want && (!ok || !first.missed.Load())
		})
		return mark
	}
	canTell(true)
	first.side.yield()
	if !second.Keep("ns") || first.Keep("ns") {
		t.Fatal("the second is not the keeper")
	}
	kapitest.Eventually(t, "the second rings", func() bool { return second.side.isKeeper() && !second.side.isUnrung() })
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	before, _ := first.Rung("r")
	if !first.Keep("ns") {
		t.Error("nobody follows the second")
	}
	kapitest.Eventually(t, "it rings for all", func() bool {
		mark, ok := first.Rung("r")
		return ok && mark != before
	})
}

func (d *side) isUnrung() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unrung
}

// TestKeeperInPassing: a process that becomes the keeper only as it ends doesn't begin to listen or to read.
func TestKeeperInPassing(t *testing.T) {
	s, _ := newStore(t)
	mustCommitBy(t, s, "a", "r")
	if !s.Keep("ns") {
		t.Error("it is not the keeper")
	}
	if _, err := s.Some(kapitest.Within(t), nil); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s.ringer.epoch != "" || s.ringer.stop != nil {
		t.Error("it has begun to ring")
	}
}
