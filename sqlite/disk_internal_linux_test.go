package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// TestDiskFull: a commit for which the disk has no room is refused as a whole. What was acknowledged before
// can still be read, and the store works again once there is room.
func TestDiskFull(t *testing.T) {
	if !kapitest.WithMounts(t, true) {
		return
	}
	d := kapitest.NewDisk(t, "size=1m")
	path := filepath.Join(d.Folder, "kapi.db")
	s, other := openFor(t, path), openFor(t, path)
	kept := fillWithCommits(t, s, d)
	for round := range 3 {
		wantIDs(t, s, kept...)
		wantIDs(t, other, kept...)
		refused := fmt.Sprintf("refused-%d", round)
		if _, err := insert(kapitest.Within(t), other, refused); err == nil {
			kept = append(kept, refused) // the WAL had room after all
		} else {
			wantRefusal(t, err, path, "the disk is full")
		}
	}
	d.Free()
	mustInsert(t, s, "after")
	mustInsert(t, other, "after that")
	kept = append(kept, "after", "after that")
	wantIDs(t, s, kept...)
	wantIDs(t, openFor(t, path), kept...)
}

// fillWithCommits commits until the disk is full, and returns what was acknowledged.
func fillWithCommits(t *testing.T, s *Store, d *kapitest.Disk) (kept []string) {
	t.Helper()
	mustInsert(t, s, "before")
	d.Fill(0)
	kept = []string{"before"}
	for i := range 1000 {
		id := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 500))
		_, err := insert(kapitest.Within(t), s, id)
		if err != nil {
			wantRefusal(t, err, s.Path(), "the disk is full")
			if err := s.Renew(kapitest.Within(t), store.RunnerRecord{ID: strings.Repeat("r", 100_000)}); err == nil {
				t.Error("a renewal that needs a lot of room succeeded")
			} else {
				wantRefusal(t, err, s.Path(), "the disk is full")
			}
			return kept
		}
		kept = append(kept, id)
	}
	t.Fatal("the disk isn't full after 1000 commits")
	return nil
}

// TestDiskFullAtClose: what was acknowledged survives closing and opening the store while the disk is full.
func TestDiskFullAtClose(t *testing.T) {
	if !kapitest.WithMounts(t, true) {
		return
	}
	d := kapitest.NewDisk(t, "size=1m")
	path := filepath.Join(d.Folder, "kapi.db")
	s := openAt(t, path)
	kept := fillWithCommits(t, s, d)
	head := headOf(t, s)
	closeStore(t, s)
	d.Fill(0)
	if s, err := Open(path); err == nil {
		wantIDs(t, s, kept...)
		closeStore(t, s)
	} else {
		wantRefusal(t, err, path, "the disk is full")
	}
	d.Free()
	s = openFor(t, path)
	wantIDs(t, s, kept...)
	if got := headOf(t, s); got != head {
		t.Errorf("the head became %v, was %v", got, head)
	}
	mustInsert(t, s, "after")
}

// TestOpenOnFullDisk: without room for a new store, opening it is refused, however little is missing. Once
// there is room, it succeeds.
func TestOpenOnFullDisk(t *testing.T) {
	if !kapitest.WithMounts(t, true) {
		return
	}
	free := []int{0, 1, 2, 4, 8, 9, 12, 16, 20, 25, 30, 40} // pages
	refused := 0
	for _, pages := range free {
		t.Run(fmt.Sprint(pages), func(t *testing.T) {
			d := kapitest.NewDisk(t, "size=1m")
			d.Fill(pages)
			path := filepath.Join(d.Folder, "kapi.db")
			if s, err := Open(path); err == nil {
				closeStore(t, s)
			} else {
				refused++
				wantRefusal(t, err, path, "the disk is full")
			}
			d.Free()
			s := openFor(t, path)
			mustInsert(t, s, "a")
			wantIDs(t, s, "a")
		})
	}
	if refused == 0 || refused == len(free) {
		t.Errorf("%d of %d were refused, want some", refused, len(free))
	}
}
