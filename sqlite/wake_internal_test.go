package sqlite

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// listen listens for wake-ups until t ends. It consumes the first one, which comes when listening begins.
func listen(t testing.TB, s *Store) (woken <-chan struct{}) {
	t.Helper()
	woken, ended := listenWith(t, s.Listen)
	select {
	case <-woken:
	case err := <-ended:
		t.Fatalf("Listen ended: %v", err)
	case <-time.After(deadline):
		t.Fatalf("waited %v for the watch to begin", deadline)
	}
	return woken
}

// listenWith calls Listen, or a replacement, until t ends.
func listenWith(t testing.TB, listen func(context.Context, func()) error) (<-chan struct{}, <-chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	woken, ended := make(chan struct{}, 1), make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- listen(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return woken, ended
}

// TestWokenByAnotherProcess: each commit of another process wakes a listener.
func TestWokenByAnotherProcess(t *testing.T) {
	path := newPath(t)
	s := openFor(t, path)
	woken := listen(t, s)
	other := startChild(t, "committer", path)
	other.expect("ready")
	other.send("go")
	other.expect(headOf(t, s).Epoch)
	for _, id := range []string{"a", "b", "c"} {
		drain(woken)
		other.send(id)
		other.hear()
		kapitest.Receive(t, woken, "a wake-up by another process")
	}
	other.end()
	wantIDs(t, s, "a", "b", "c")
}

func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

// polling returns how s listens if it can't get a watch.
func polling(s *Store) func(context.Context, func()) error {
	return func(ctx context.Context, wake func()) error {
		_, err := s.pollWake(ctx, s.now(), wake, nil)
		return err
	}
}

// TestPoll: without a watch, commits are seen by the wake file's content, even within one tick of the file system's
// clock.
func TestPoll(t *testing.T) {
	path := newPath(t)
	s, other := openFor(t, path), openFor(t, path)
	woken, ended := listenWith(t, polling(s))
	kapitest.Receive(t, woken, "the first wake-up")
	for _, id := range []string{"a", "b"} {
		mustInsert(t, other, id)
		if err := os.Chtimes(path+"-wake", time.Time{}, time.UnixMilli(1)); err != nil {
			t.Fatal(err)
		}
		kapitest.Receive(t, woken, "a wake-up after a commit")
	}
	if err := os.Remove(path + "-wake"); err != nil {
		t.Fatal(err)
	}
	if err := kapitest.Receive(t, ended, "the poll to end"); err == nil || !strings.Contains(err.Error(), path+"-wake was removed") {
		t.Errorf("the wake file was removed, and the poll returns %v", err)
	}
}

// TestWakeFileCannotBeMade: the store is refused, and works once the obstacle is gone.
func TestWakeFileCannotBeMade(t *testing.T) {
	path := newPath(t)
	if err := os.Mkdir(path+"-wake", 0o700); err != nil {
		t.Fatal(err)
	}
	wantOpenRefused(t, path, path+"-wake: is a directory")
	if err := os.Remove(path + "-wake"); err != nil {
		t.Fatal(err)
	}
	s := openFor(t, path)
	mustInsert(t, s, "a")
	wantIDs(t, s, "a")
}

// TestWakeFileRemoved: Listen returns an error, and the next call of Listen creates the file again, so that wake-ups
// reach stores that are opened afterwards, and theirs are received.
func TestWakeFileRemoved(t *testing.T) {
	path := newPath(t)
	a, b := openFor(t, path), openFor(t, path)
	epoch := headOf(t, a).Epoch
	mustInsert(t, a, "1")
	for _, s := range []*Store{a, b} {
		woken, ended := listenWith(t, s.Listen)
		kapitest.Receive(t, woken, "the watch to begin")
		if err := os.Remove(path + "-wake"); err != nil {
			t.Fatal(err)
		}
		if err := kapitest.Receive(t, ended, "Listen to end"); err == nil || !strings.Contains(err.Error(), path+"-wake was removed") {
			t.Errorf("the wake file was removed, and Listen returns %v", err)
		}
		listen(t, s)
	}
	wokenA, wokenB := listen(t, a), listen(t, b)
	if got, want := b.now().wake.read(), (mark{epoch, 1}); got != want {
		t.Errorf("the wake file was created again and has %v, want %v", got, want)
	}
	c := openFor(t, path)
	if got := headOf(t, c).Epoch; got != epoch {
		t.Errorf("the wake file was created again, but opening the store begins a new epoch %s", got)
	}
	wokenC := listen(t, c)
	for i, s := range []*Store{a, b, c} {
		for _, woken := range []<-chan struct{}{wokenA, wokenB, wokenC} {
			drain(woken)
		}
		mustInsert(t, s, string(rune('a'+i)))
		for j, woken := range []<-chan struct{}{wokenA, wokenB, wokenC} {
			kapitest.Receive(t, woken, "a wake-up of "+string(rune('a'+j))+" by "+string(rune('a'+i)))
		}
	}
}

// TestWakeFileRemovedAndMadeAgain: a store that is opened after the wake file was removed creates another one, and
// stores that are already open switch to it.
func TestWakeFileRemovedAndMadeAgain(t *testing.T) {
	path := newPath(t)
	a := openFor(t, path)
	mustInsert(t, a, "1")
	before := headOf(t, a)
	if err := os.Remove(path + "-wake"); err != nil {
		t.Fatal(err)
	}
	b := openFor(t, path)
	after := headOf(t, b)
	if after.Epoch == before.Epoch || after.Seq != before.Seq+store.Ahead {
		t.Errorf("without a wake file %v became %v, want a new epoch and a seq ahead of it", before, after)
	}
	wokenA, wokenB := listen(t, a), listen(t, b)
	mustInsert(t, a, "2")
	kapitest.Receive(t, wokenB, "a wake-up by the store that was open before")
	drain(wokenA)
	mustInsert(t, b, "3")
	kapitest.Receive(t, wokenA, "a wake-up by the store that was opened later")
	wantIDs(t, a, "1", "2", "3")
}

func TestWakeFileContent(t *testing.T) {
	for text, want := range map[string]mark{
		"":                              {},
		"\n":                            {},
		"garbage":                       {},
		"epoch ":                        {},
		"epoch x":                       {},
		"epoch -1":                      {},
		"epoch 1.5":                     {},
		"epoch 9223372036854775808":     {}, // a seq fits into SQLite's integers
		"epoch 12":                      {"epoch", 12},
		"epoch 12" + blanks(100) + "34": {"epoch", 12},
		"\x00\xff\xfe 7":                {}, // not an epoch
		"e\x1b[2J 7":                    {},
		"epoch 9007199254740992":        {}, // JSON can't hold it
	} {
		path := newPath(t)
		writeFile(t, path, nil)
		writeFile(t, path+"-wake", []byte(text))
		like, err := factsOf(path)
		if err != nil {
			t.Fatal(err)
		}
		w, err := openWake(path, like, rights{})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.read(); got != want {
			t.Errorf("a wake file of %q is read as %v, want %v", text, got, want)
		}
		w.touch(mark{"other", 13})
		if got := w.read(); got != (mark{"other", 13}) {
			t.Errorf("a wake file of %q, written to, is read as %v", text, got)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

func blanks(n int) string { return strings.Repeat(" ", n) }

// TestListenEndsWithTheStore: Listen returns an error when the store is closed.
func TestListenEndsWithTheStore(t *testing.T) {
	memory, err := OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	file, polled := openAt(t, newPath(t)), openAt(t, newPath(t))
	for name, c := range map[string]struct {
		s      *Store
		listen func(context.Context, func()) error
	}{
		"file": {file, file.Listen}, "poll": {polled, polling(polled)}, "memory": {memory, memory.Listen},
	} {
		_, ended := listenWith(t, c.listen)
		closeStore(t, c.s)
		if err := kapitest.Receive(t, ended, name+": Listen to end"); !errors.Is(err, kapi.ErrUnavailable) {
			t.Errorf("%s: Listen ends with %v, want an error that wraps %v", name, err, kapi.ErrUnavailable)
		}
	}
}
