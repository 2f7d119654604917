package sqlite

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
)

// TestNoRoom: a commit is refused as a whole if the database has reached its maximum size. Unlike
// TestDiskFull, this needs no full disk.
func TestNoRoom(t *testing.T) {
	bothKinds(t, func(t *testing.T, s *Store) {
		limitTo := func(pages int) {
			t.Helper()
			_, c, give, err := s.borrow(kapitest.Within(t), true, true)
			if err != nil {
				t.Fatal(err)
			}
			defer give()
			if err := exec(c, fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
				t.Fatal(err)
			}
		}
		kept := []string{"before"}
		mustInsert(t, s, "before")
		limitTo(1) // SQLite raises this to the current number of pages
		large := strings.Repeat("x", 10_000)
		for range 3 {
			_, err := insert(kapitest.Within(t), s, large)
			if err == nil || !isUnavailable(err) || !strings.Contains(err.Error(), "the disk is full") {
				t.Errorf("a commit without room returns %v", err)
			}
			wantIDs(t, s, kept...)
			if got := headOf(t, s).Seq; got != 1 {
				t.Errorf("the head is %d after a commit that was refused", got)
			}
		}
		limitTo(1 << 20)
		mustInsert(t, s, large)
		wantIDs(t, s, append(kept, large)...)
	})
}
