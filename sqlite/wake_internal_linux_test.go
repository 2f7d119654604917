package sqlite

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kettubot/kapi/internal/kapitest"
)

// TestListenWithoutWatches: a process that can't get a watch from the system is woken, too.
func TestListenWithoutWatches(t *testing.T) {
	if !kapitest.IsAgain() { // the limit applies to the whole process
		if err := kapitest.Again(t, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	path := newPath(t)
	s, other := openFor(t, path), openFor(t, path)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	if fd, err := unix.InotifyInit1(0); err == nil {
		t.Fatalf("there is a watch left: file descriptor %d", fd)
	}
	woken := listen(t, s)
	mustInsert(t, other, "a")
	kapitest.Receive(t, woken, "a wake-up after a commit")
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
}
