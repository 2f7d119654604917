package postgres

import (
	"testing"

	"github.com/kettubot/kapi"
)

// A transaction asks again what to read once it has the lock, and reads what it has not read.
func TestAgain(t *testing.T) {
	s, _ := newStore(t)
	for _, id := range []string{"a", "b"} {
		mustInsert(t, s, id)
	}
	request := kapi.Request{By: "somebody", Key: "1"}
	err := s.Commit(within(t), kapi.Batch{}, func(l kapi.Loaded) (kapi.Writes, error) {
		r := kapi.Record{Action: kapi.Action{Seq: 3, ID: "c", Status: kapi.StatusRunning}, Fence: 3}
		return kapi.Writes{
			Head: 3, Insert: []kapi.Record{r}, Runners: []kapi.RunnerRecord{{ID: "runner"}},
			Answers: []kapi.Answer{{Request: request, Action: "c", Hash: []byte("h"), Body: []byte("b")}},
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what                 string
		first, again         kapi.Batch
		found                string
		beats, answers, news int
	}{
		{"the same", kapi.Batch{Since: 1, Find: []string{"a"}}, kapi.Batch{Since: 1, Find: []string{"a"}}, "a", 0, 0, 2},
		{"less", kapi.Batch{Since: 1, Find: []string{"a"}}, kapi.Batch{Since: 2}, "a", 0, 0, 2},
		{"more", kapi.Batch{Since: 1}, kapi.Batch{Since: 2, Find: []string{"a"}}, "a", 0, 0, 1},
		{"other things", kapi.Batch{Since: 1, Find: []string{"a"}}, kapi.Batch{Since: 2, Find: []string{"b"}}, "b", 0, 0, 1},
		{"a runner", kapi.Batch{Since: 1}, kapi.Batch{Since: 2, Runners: []string{"runner"}}, "", 1, 0, 1},
		{"an answer", kapi.Batch{Since: 1}, kapi.Batch{Since: 2, Requests: []kapi.Request{request}}, "", 0, 1, 1},
		{"a nudge", kapi.Batch{Since: 1}, kapi.Batch{Since: 2, Nudges: 1}, "", 0, 0, 1},
		{"one more nudge", kapi.Batch{Since: 1, Nudges: 1}, kapi.Batch{Since: 2, Nudges: 2}, "", 0, 0, 1},
	} {
		asked := 0
		c.first.Again = func() kapi.Batch {
			asked++
			return c.again
		}
		err := s.Commit(within(t), c.first, func(l kapi.Loaded) (kapi.Writes, error) {
			found := ""
			for _, r := range l.Found {
				found += r.ID
			}
			if found != c.found || len(l.Beats) != c.beats || len(l.Answers) != c.answers || len(l.Records) != c.news {
				t.Errorf("%s: it found %q, %d runners, %d answers, %d that are new",
					c.what, found, len(l.Beats), len(l.Answers), len(l.Records))
			}
			return kapi.Writes{}, nil
		})
		if err != nil {
			t.Error(err)
		}
		if asked != 1 {
			t.Errorf("%s: it asked %d times, want once", c.what, asked)
		}
	}
}

// It asks when it has the lock, not before: what it is told then may come from those who had it.
func TestAgainAfterTheWait(t *testing.T) {
	s, database := newStore(t)
	other := patient(openFor(t, server.DSN(database)))
	read := make(chan int, 1)
	err := insert(within(t), other, "first", func() {
		go func() {
			b := kapi.Batch{Again: func() kapi.Batch {
				page, err := s.Feed(within(t), 0)
				if err != nil {
					t.Error(err)
				}
				read <- len(page.Records)
				return kapi.Batch{}
			}}
			err := s.Commit(within(t), b, func(kapi.Loaded) (kapi.Writes, error) { return kapi.Writes{}, nil })
			if err != nil {
				t.Error(err)
			}
			close(read)
		}()
		eventually(t, "somebody waits for the lock", func() bool {
			return query[bool](t, database, `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
				WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted)`)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := <-read; n != 1 {
		t.Errorf("when it asked there were %d records, want the other's", n)
	}
	<-read
}
