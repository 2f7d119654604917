package peer_test

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
)

// running opens a peer with the operation "copy", and starts it.
func running(t *testing.T, change ...func(*kapi.Definition)) (*testStore, *call) {
	t.Helper()
	d, ran := calls(change...)
	s := newStore(t)
	k := openPeer(t, s, peer.Options{Operations: []kapi.Definition{d}, Logger: quiet, Grace: time.Second})
	if _, err := k.StartOperation(t.Context(), "copy", nil, kapi.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	return s, <-ran
}

// saved returns the checkpoints that a store has of an action.
func saved(t testing.TB, s *testStore, id string) map[string]string {
	t.Helper()
	all, err := s.Saved(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, c := range all {
		if c.Name != store.ArgumentsName {
			texts[c.Name] = string(c.Data)
		}
	}
	return texts
}

func TestCheckpoints(t *testing.T) {
	s, now := running(t)
	var at place
	if found, err := now.Restore(&at); found || err != nil {
		t.Errorf("before the first one: %v, %v", found, err)
	}
	must(t, now.Checkpoint(place{1}))
	must(t, now.Checkpoint(place{2}))
	must(t, now.Save("a", []int{1, 2}))
	must(t, now.Save("b", nil))
	if got := saved(t, s, now.ID()); len(got) != 2 || got[""] != `{"N":2}` || got["a"] != "[1,2]" {
		t.Errorf("saved: %q", got)
	}
	if n := restored(t, now); n != 2 {
		t.Errorf("restored %d", n)
	}
	var list []int
	if found, err := now.Load("a", &list); !found || err != nil || len(list) != 2 {
		t.Errorf("loaded %v, %v, %v", list, found, err)
	}
	must(t, now.Save("a", nil))
	if found, err := now.Load("a", &list); found || err != nil {
		t.Errorf("loaded what was deleted: %v, %v", found, err)
	}
	if got := saved(t, s, now.ID()); len(got) != 1 {
		t.Errorf("saved: %q", got)
	}
	now.end <- nil
	<-now.ctx.Done()
	wantError(t, now.Checkpoint(place{3}), kapi.ErrUnknown)
	wantError(t, now.Save("a", 1), kapi.ErrUnknown)
	wantError(t, now.NoCancel("late"), kapi.ErrUnknown)
	_, err := now.Restore(&at)
	wantError(t, err, kapi.ErrUnknown)
}

// A checkpoint of equal bytes costs no write, and any other one a single commit.
func TestCheckpointWrites(t *testing.T) {
	s, now := running(t)
	var mu sync.Mutex
	var commits []store.Writes
	s.setAfter(func(w store.Writes) error {
		mu.Lock()
		defer mu.Unlock()
		commits = append(commits, w)
		return nil
	})
	for range 3 {
		must(t, now.Checkpoint(place{1}))
		must(t, now.Save("none", nil))
	}
	must(t, now.Checkpoint(place{2}))
	mu.Lock()
	defer mu.Unlock()
	if len(commits) != 2 {
		t.Fatalf("%d commits", len(commits))
	}
	for _, w := range commits {
		if len(w.Saved) != 1 || len(w.Insert)+len(w.Update) > 0 {
			t.Errorf("it wrote %+v", w)
		}
	}
}

func TestWrongCheckpoints(t *testing.T) {
	s, now := running(t)
	must(t, now.Checkpoint("kept"))
	large := func(n int) string { return strings.Repeat("x", n-2) } // in quotes
	for name, tt := range map[string]struct {
		name string
		v    any
		want string
	}{
		"not a number":       {"a", math.NaN(), `checkpoint "a" can't be encoded: json: unsupported value: NaN`},
		"a channel":          {"a", make(chan int), `checkpoint "a" can't be encoded: json: unsupported type: chan int`},
		"too large":          {"a", large(256<<10 + 1), `checkpoint "a" has 262145 bytes, at most 262144 are allowed`},
		"no name":            {"", 1, "name of a checkpoint must have 1 to 100 characters, not 0"},
		"a long name":        {strings.Repeat("é", 101), 1, "name of a checkpoint must have 1 to 100 characters, not 101"},
		"control characters": {"\x1farguments", 1, "name of a checkpoint must not have control characters"},
		"not UTF-8":          {"a\xff", 1, `name of a checkpoint is not valid UTF-8: byte 2 is 0xff, after "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := now.Save(tt.name, tt.v); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
	must(t, now.Save("largest", large(256<<10)))
	must(t, now.Save(strings.Repeat("é", 100), 1))
	if got := saved(t, s, now.ID()); len(got) != 3 || got[""] != `"kept"` {
		t.Errorf("%d are saved", len(got))
	}
	for name, into := range map[string]any{"another type": new(int), "nothing": nil, "no pointer": place{}} {
		if found, err := now.Restore(into); found || err == nil {
			t.Errorf("restored into %s: %v, %v", name, found, err)
		}
	}
}

// All checkpoints of an action have 4 MiB together, with their names. What was deleted or replaced doesn't count.
func TestCheckpointsInAll(t *testing.T) {
	_, now := running(t)
	full := strings.Repeat("x", 256<<10-2)
	for i := range 15 {
		must(t, now.Save(string(rune('a'+i)), full))
	}
	must(t, now.Save("p", full[16:])) // what the 16 names leave
	err := now.Checkpoint(1)
	var invalid *kapi.InvalidError
	if !errors.As(err, &invalid) || err.Error() != "checkpoint would make 4194305 bytes of all checkpoints of the action, at most 4194304 are allowed" {
		t.Errorf("one more: %v", err)
	}
	must(t, now.Save("a", full[1:]))
	must(t, now.Checkpoint(1))
	must(t, now.Save("b", nil))
	must(t, now.Save("q", full))
}

// Saves of different names go into one transaction.
func TestCheckpointsTogether(t *testing.T) {
	s, now := running(t)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for n := range 20 {
				must(t, now.Save(fmt.Sprint(i), n))
			}
		})
	}
	all.Wait()
	for name, text := range saved(t, s, now.ID()) {
		if text != "19" {
			t.Errorf("%q is %s", name, text)
		}
	}
}

// While the store is away, Checkpoint waits for it. If that takes too long, the operation is stopped.
func TestCheckpointStoreAway(t *testing.T) {
	for name, tt := range map[string]struct {
		resume *kapi.Resume
		limit  time.Duration
	}{
		"resumable":     {&kapi.Resume{}, sceneGiveUp - sceneLease/3},
		"not resumable": {nil, sceneLease},
	} {
		t.Run(name, func(t *testing.T) {
			playCast(t, func(t *testing.T, c *cast) {
				d, ran := calls(func(d *kapi.Definition) { d.Resume = tt.resume })
				a := c.join(peer.Options{}, d)
				a.begin(t)
				now := <-ran
				a.link.cut()
				result := make(chan error)
				go func() { result <- now.Checkpoint(place{1}) }()
				time.Sleep(10 * time.Second)
				a.link.mend()
				must(t, <-result)

				a.link.cut("Commit") // the lease is renewed meanwhile
				began := time.Now()
				wantError(t, now.Checkpoint(place{2}), kapi.ErrUnavailable)
				if took := time.Since(began); took < tt.limit || took > tt.limit+3*time.Second {
					t.Errorf("it waited for %v, want %v", took, tt.limit)
				}
				<-now.ctx.Done()
				a.link.mend()
				synctest.Wait()
			})
		})
	}
}

// If the answer to a checkpoint is lost, it is written again.
func TestCheckpointAnswerLost(t *testing.T) {
	s, now := running(t)
	s.setAfter(func(store.Writes) error {
		s.setAfter(nil)
		return errors.Join(errOutage, kapi.ErrOutcomeUnknown)
	})
	must(t, now.Checkpoint(place{1}))
	if got := saved(t, s, now.ID()); got[""] != `{"N":1}` {
		t.Errorf("saved: %q", got)
	}
}

// If the answer to a checkpoint is lost, and it can't be written again, whether it was written stays unknown.
func TestCheckpointInDoubt(t *testing.T) {
	playCast(t, func(t *testing.T, c *cast) {
		d, ran := calls()
		a := c.join(peer.Options{}, d)
		a.begin(t)
		now := <-ran
		a.link.ask(func(method string) error {
			if method != "Answer" {
				return nil
			}
			a.link.cut("Commit")
			return errors.Join(errOutage, kapi.ErrOutcomeUnknown)
		})
		wantError(t, now.Checkpoint(place{1}), kapi.ErrOutcomeUnknown)
		a.link.mend()
		synctest.Wait()
	})
}

// A store that was removed gets the action back, with its arguments and checkpoints.
func TestCheckpointsReclaimed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kapi.db")
	d, ran := calls()
	k := openPeer(t, storeAt(t, path), peer.Options{Operations: []kapi.Definition{d}})
	if _, err := k.StartOperation(t.Context(), "copy", nil, kapi.StartOptions{}); err != nil {
		t.Fatal(err)
	}
	now := <-ran
	must(t, now.Checkpoint(place{1}))
	must(t, now.Save("a", "b"))
	removeStore(t, path)
	must(t, now.Checkpoint(place{2}))
	must(t, now.Save("a", "b"))
	s := storeAt(t, path)
	defer s.Close()
	all, err := s.Saved(t.Context(), now.ID())
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, c := range all {
		texts[c.Name] = string(c.Data)
	}
	if len(texts) != 3 || texts[""] != `{"N":2}` || texts["a"] != `"b"` || texts[store.ArgumentsName] != "{}" {
		t.Errorf("saved in the new store: %q", texts)
	}
	now.end <- nil
}
