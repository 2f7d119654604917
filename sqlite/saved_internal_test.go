package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"os"
	osexec "os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/internal/storetest"
)

// countEnv is the variable with the number of the checkpoint that a child saves.
const countEnv = "KAPI_SQLITE_TEST_COUNT"

// roleSave saves a checkpoint and dies.
func roleSave(path string, _ *bufio.Scanner) error {
	n, err := strconv.Atoi(os.Getenv(countEnv))
	if err != nil {
		return err
	}
	s, err := Open(path)
	if err != nil {
		return err
	}
	return storetest.SaveAndDie(s, n)
}

// TestSavedSurvivesKills: a checkpoint that was acknowledged is there, although its process was killed at once.
func TestSavedSurvivesKills(t *testing.T) {
	path := newPath(t)
	storetest.Kills(t, func() store.Store { return openAt(t, path) }, func(n int) *osexec.Cmd {
		cmd := osexec.Command(executable(t), path)
		cmd.Env = append(os.Environ(), childEnv+"=save", countEnv+"="+strconv.Itoa(n), noExitSleep)
		return cmd
	})
}

// save commits a checkpoint of an action, and what else is given.
func save(ctx context.Context, s *Store, data []byte, more func(*store.Writes)) error {
	return s.Commit(ctx, store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
		w := store.Writes{Head: l.Seq, Saved: []store.Saved{{Action: "a", Data: data}}}
		if more != nil {
			more(&w)
		}
		return w, nil
	})
}

// TestSavedWakesNobody: a commit that only saves and renews leaves the wake file alone.
func TestSavedWakesNobody(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	mustInsert(t, s, "a")
	long := time.Unix(1, 0)
	touched := func() bool {
		t.Helper()
		now, err := os.Stat(path + wakeName)
		if err != nil {
			t.Fatal(err)
		}
		return !now.ModTime().Equal(long)
	}
	if err := os.Chtimes(path+wakeName, long, long); err != nil {
		t.Fatal(err)
	}
	err := save(kapitest.Within(t), s, []byte("1"), func(w *store.Writes) {
		w.Runners = []store.RunnerRecord{{ID: "r", Lease: time.Second}}
	})
	if err != nil || touched() {
		t.Errorf("a checkpoint woke others (error: %v)", err)
	}
	if err := s.Offer(kapitest.Within(t), "r", []store.OfferRecord{{Name: "o", About: []byte("{}")}}); err != nil || touched() {
		t.Errorf("an offer woke others (error: %v)", err)
	}
	if mustInsert(t, s, "b"); !touched() {
		t.Error("a start woke nobody")
	}
}

// TestSavedInBounds: however often checkpoints replace each other, the file and its log stay small, although others
// read meanwhile. After the action's end its pages are used again.
func TestSavedInBounds(t *testing.T) {
	const largest, most = 256 << 10, 8 << 20
	times := 150
	if os.Getenv("KAPI_SOAK") != "" {
		times = 16384
	}
	path := newPath(t)
	s, reader := openFor(t, path), openFor(t, path)
	mustInsert(t, s, "a")
	for i := range times {
		data := bytes.Repeat([]byte{byte(i)}, largest-i*1000%(largest/2))
		if err := save(kapitest.Within(t), s, data, nil); err != nil {
			t.Fatal(err)
		}
		if i%50 == 49 {
			got, err := reader.Saved(kapitest.Within(t), "a")
			if err != nil || len(got) != 1 || !bytes.Equal(got[0].Data, data) {
				t.Fatalf("after %d checkpoints, %d are saved (error: %v)", i, len(got), err)
			}
			err = save(kapitest.Within(t), s, nil, func(w *store.Writes) { w.Disposed = []string{"a"} })
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{path, path + "-wal"} {
			if now, err := os.Stat(name); err != nil || now.Size() > most {
				t.Fatalf("after %d checkpoints of up to %d bytes, %s has %d (error: %v)", i+1, largest, name, now.Size(), err)
			}
		}
	}
}
