package postgres

import (
	"testing"

	"github.com/kettubot/kapi/internal/kapitest"
)

// Rows and tables of another build are refused, and the error says why.
func TestUnreadable(t *testing.T) {
	for sql, why := range map[string]string{
		`UPDATE kapi.actions SET data = '\x7f' || data WHERE id = 'b'`:    "the action with seq 2: its row can't be read: this kapi doesn't know its format",
		`UPDATE kapi.actions SET data = data || '\x00' WHERE id = 'b'`:    "the action with seq 2: its row can't be read: it is cut off",
		`ALTER TABLE kapi.actions RENAME COLUMN data TO written_by_other`: "its tables are from another build of kapi",
	} {
		t.Run(why, func(t *testing.T) {
			s, database := newStore(t)
			mustInsert(t, s, "a")
			mustInsert(t, s, "b")
			server.Exec(t, database, sql)
			_, err := s.Feed(kapitest.Within(t), 0)
			wantRefusal(t, err, why)
			_, err = s.Snapshot(kapitest.Within(t))
			wantRefusal(t, err, why)
			wantRefusal(t, insert(kapitest.Within(t), s, "c", nil), why)
		})
	}
}
