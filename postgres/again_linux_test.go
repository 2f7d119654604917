package postgres

import (
	"testing"

	"github.com/kettubot/kapi"
)

// A transaction asks again what to read once it has the lock, and reads what it has not read.
func TestAgain(t *testing.T) {
	s, _ := newStore(t)
	for _, id := range []string{"a", "b", "c"} {
		mustInsert(t, s, id)
	}
	if err := s.Renew(within(t), kapi.RunnerRecord{ID: "runner"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what         string
		first, again kapi.Batch
		found        string
		beats, news  int
	}{
		{"the same", kapi.Batch{Since: 1, Find: []string{"a"}}, kapi.Batch{Since: 1, Find: []string{"a"}}, "a", 0, 2},
		{"less", kapi.Batch{Since: 1, Find: []string{"a"}}, kapi.Batch{Since: 3}, "a", 0, 2},
		{"more", kapi.Batch{Since: 1}, kapi.Batch{Since: 2, Find: []string{"a"}}, "a", 0, 1},
		{"other things", kapi.Batch{Since: 1, Find: []string{"a"}}, kapi.Batch{Since: 2, Find: []string{"b"}}, "b", 0, 1},
		{"runners", kapi.Batch{Since: 1}, kapi.Batch{Since: 2, Runners: []string{"runner"}}, "", 1, 1},
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
			if found != c.found || len(l.Beats) != c.beats || len(l.Records) != c.news {
				t.Errorf("%s: it found %q, %d runners, %d that are new", c.what, found, len(l.Beats), len(l.Records))
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
