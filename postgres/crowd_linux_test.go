package postgres

import (
	"testing"

	"github.com/kettubot/kapi"
)

// A transaction that waits for the lock asks what to read once it has it. Whether it will have to
// wait is judged by the one before.
func TestCrowd(t *testing.T) {
	s, database := newStore(t)
	other := patient(openFor(t, server.DSN(database)))
	mustInsert(t, s, "first")

	// behind has s commit while the other has the lock.
	behind := func(id string) int {
		asked := make(chan int)
		err := insert(within(t), other, id, func() {
			go func() { asked <- commitAsking(t, s, id) }()
			eventually(t, "somebody waits for the lock", func() bool {
				var waiting bool
				server.Query(t, database, `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
					WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted)`, &waiting)
				return waiting
			})
		})
		if err != nil {
			t.Error(err)
		}
		return <-asked
	}
	for _, c := range []struct {
		what  string
		asked int
		want  int
	}{
		{"not yet knowing of a crowd", behind("a"), 0},
		{"in a crowd", behind("b"), 1},
		{"thinking of a crowd", commitAsking(t, s, "b"), 1},
		{"when the crowd has gone", commitAsking(t, s, "b"), 0},
	} {
		if c.asked != c.want {
			t.Errorf("%s it asked %d times what to read, want %d", c.what, c.asked, c.want)
		}
	}
}

// commitAsking commits nothing, and returns how often it was asked anew what to read. Either way
// the last record that it reads must be the one named.
func commitAsking(t *testing.T, s *Store, last string) (asked int) {
	b := kapi.Batch{Again: func() kapi.Batch {
		asked++
		page, err := s.Feed(within(t), 0) // all that there will be: the lock is had
		if err != nil {
			t.Error(err)
		}
		return kapi.Batch{Since: page.Seq - 1}
	}}
	err := s.Commit(within(t), b, func(l kapi.Loaded) (kapi.Writes, error) {
		n := len(l.Records)
		if n == 0 || l.Records[n-1].ID != last || asked > 0 && n != 1 {
			t.Errorf("it read %d records, asked anew %d times; the last must be %s", n, asked, last)
		}
		return kapi.Writes{}, nil
	})
	if err != nil {
		t.Error(err)
	}
	return asked
}
