package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/internal/store"
)

// TestDiskFull: a commit for which the server's disk has no room is refused as a whole. Acknowledged
// commits are kept and can be read, and once there is room the store works again.
func TestDiskFull(t *testing.T) {
	if !kapitest.WithMounts(t, false) {
		return
	}
	d := kapitest.NewDisk(t, "size=160m,mode=1777")
	alone := pgtest.For(t, pgtest.Options{Folder: d.Folder, Settings: map[string]string{"max_connections": "20", "max_wal_size": "48MB", "min_wal_size": "32MB"}})
	s := openFor(t, alone.DSN("postgres"))
	mustInsert(t, s, "before")
	kept := []string{"before"}
	d.Fill(0)
	for i := 0; ; i++ {
		id := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 1000))
		err := insert(kapitest.Within(t), s, id, nil)
		if err != nil {
			wantRefusal(t, err, "its disk is full")
			break
		}
		if kept = append(kept, id); i == 1000 {
			t.Fatal("the disk isn't full after 1000 commits")
		}
	}
	wantIDs(t, s, kept...)
	d.Free()
	mustInsert(t, s, "after")
	wantIDs(t, s, append(kept, "after")...)
	if err := s.Renew(kapitest.Within(t), store.RunnerRecord{ID: "r"}); err != nil {
		t.Error(err)
	}
}
