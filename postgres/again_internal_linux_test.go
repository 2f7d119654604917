package postgres

import (
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/kapitest"
	"github.com/kettubot/kapi/internal/store"
)

// Once a transaction has the lock, it calls Batch.Again, and reads what it has not read yet.
func TestAgain(t *testing.T) {
	s, _ := newStore(t)
	for _, id := range []string{"a", "b"} {
		mustInsert(t, s, id)
	}
	request := store.Request{By: "somebody", Key: "1"}
	err := s.Commit(kapitest.Within(t), store.Batch{}, func(l store.Loaded) (store.Writes, error) {
		r := store.Record{Action: kapi.Action{Seq: 3, ID: "c", Status: kapi.StatusRunning}, Fence: 3}
		return store.Writes{
			Head: 3, Insert: []store.Record{r}, Runners: []store.RunnerRecord{{ID: "runner"}},
			Answers: []store.Answer{{Request: request, Action: "c", Hash: []byte("h"), Body: []byte("b")}},
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what                 string
		first, again         store.Batch
		found                string
		beats, answers, news int
	}{
		{"the same", store.Batch{Since: 1, Find: []string{"a"}}, store.Batch{Since: 1, Find: []string{"a"}}, "a", 0, 0, 2},
		{"less", store.Batch{Since: 1, Find: []string{"a"}}, store.Batch{Since: 2}, "a", 0, 0, 2},
		{"more", store.Batch{Since: 1}, store.Batch{Since: 2, Find: []string{"a"}}, "a", 0, 0, 1},
		{"other things", store.Batch{Since: 1, Find: []string{"a"}}, store.Batch{Since: 2, Find: []string{"b"}}, "b", 0, 0, 1},
		{"a runner", store.Batch{Since: 1}, store.Batch{Since: 2, Runners: []string{"runner"}}, "", 1, 0, 1},
		{"an answer", store.Batch{Since: 1}, store.Batch{Since: 2, Requests: []store.Request{request}}, "", 0, 1, 1},
		{"a nudge", store.Batch{Since: 1}, store.Batch{Since: 2, Nudges: 1}, "", 0, 0, 1},
		{"one more nudge", store.Batch{Since: 1, Nudges: 1}, store.Batch{Since: 2, Nudges: 2}, "", 0, 0, 1},
	} {
		asked := 0
		c.first.Again = func() store.Batch {
			asked++
			return c.again
		}
		err := s.Commit(kapitest.Within(t), c.first, func(l store.Loaded) (store.Writes, error) {
			found := ""
			for _, r := range l.Found {
				found += r.ID
			}
			if found != c.found || len(l.Beats) != c.beats || len(l.Answers) != c.answers || len(l.Records) != c.news {
				t.Errorf("%s: the transaction found %q, %d runners, %d answers, %d new records",
					c.what, found, len(l.Beats), len(l.Answers), len(l.Records))
			}
			return store.Writes{}, nil
		})
		if err != nil {
			t.Error(err)
		}
		if asked != 1 {
			t.Errorf("%s: the transaction called Again %d times, want once", c.what, asked)
		}
	}
}

// A transaction calls Batch.Again when it has the lock, not before: the new needs may depend on what the previous
// holder wrote.
func TestAgainAfterTheWait(t *testing.T) {
	s, database := newStore(t)
	other := patient(openFor(t, server.DSN(database)))
	read := make(chan int, 1)
	err := insert(kapitest.Within(t), other, "first", func() {
		go func() {
			b := store.Batch{Again: func() store.Batch {
				page, err := s.Feed(kapitest.Within(t), 0)
				if err != nil {
					t.Error(err)
				}
				read <- len(page.Records)
				return store.Batch{}
			}}
			err := s.Commit(kapitest.Within(t), b, func(store.Loaded) (store.Writes, error) { return store.Writes{}, nil })
			if err != nil {
				t.Error(err)
			}
			close(read)
		}()
		kapitest.Eventually(t, "a transaction waits for the lock", func() bool {
			return query[bool](t, database, `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
				WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted)`)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := <-read; n != 1 {
		t.Errorf("when it called Again there were %d records, want the other's", n)
	}
	<-read
}
