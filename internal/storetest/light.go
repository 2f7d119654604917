package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// waiting returns the record of an action that waits for keys.
func waiting(id string, ticket uint64, keys ...string) store.Record {
	r := bare(id)
	r.Status, r.Ticket, r.Waits = kapi.StatusPending, ticket, keys
	return r
}

// light returns the names of what a light transaction with keys finds, and the keys that it has looked up.
func light(t *testing.T, s store.Store, find []string, keys ...string) (found, looked []string) {
	t.Helper()
	errLook := errors.New("only a look")
	err := s.Commit(within(t), store.Batch{Light: true, Find: find, Keys: keys}, func(l store.Loaded) (store.Writes, error) {
		for i := range l.Found {
			found = append(found, l.Found[i].ID)
		}
		for key := range l.Held {
			looked = append(looked, key)
		}
		return store.Writes{}, errLook
	})
	if !errors.Is(err, errLook) {
		t.Fatal(err)
	}
	slices.Sort(found)
	slices.Sort(looked)
	return found, looked
}

// testLight: a light transaction reads who holds its keys and who waits for them, and nothing of other queues.
func testLight(t *testing.T, b Backend) {
	s := b.handles(t, 1)[0]
	holder := bare("holder")
	holder.Keys = []string{"k"}
	mustCommit(t, s, batch{
		insert: []store.Record{holder, waiting("w1", 1, "k"), waiting("w2", 2, "k", "m"), waiting("w3", 3, "m", "n"), waiting("other", 4, "z"), bare("plain")},
		claim:  []store.Claim{{Key: "k", Action: "holder"}},
	})
	check := func(what string, find []string, keys []string, wantFound, wantLooked string) {
		t.Helper()
		found, looked := light(t, s, find, keys...)
		if fmt.Sprint(found) != wantFound || fmt.Sprint(looked) != wantLooked {
			t.Errorf("%s: found %v and looked up %v, want %s and %s", what, found, looked, wantFound, wantLooked)
		}
	}
	check("without keys", []string{"plain"}, nil, "[plain]", "[]")
	check("a key that nobody wants", nil, []string{"free"}, "[]", "[free]")
	check("a queue that is entangled with others", []string{"w1"}, []string{"k"}, "[holder w1 w2 w3]", "[k m n]")
	check("one of the queue by its name", []string{"w2"}, []string{"k"}, "[holder w1 w2 w3]", "[k m n]")
	check("another queue", nil, []string{"z"}, "[other]", "[z]")

	granted := waiting("w1", 1)
	granted.Keys = []string{"k"}
	mustCommit(t, s, batch{update: []store.Record{granted}})
	check("one that got its keys", nil, []string{"k"}, "[holder w2 w3]", "[k m n]")
	mustCommit(t, s, batch{update: []store.Record{waiting("w1", 1, "k")}}) // silent, so it lost them again
	check("one that lost its keys again", nil, []string{"k"}, "[holder w1 w2 w3]", "[k m n]")
	begun := waiting("w2", 2)
	begun.Status, begun.Keys = kapi.StatusRunning, []string{"m"}
	gone := waiting("w1", 1)
	gone.Status = kapi.StatusAborted
	mustCommit(t, s, batch{update: []store.Record{begun, gone}})
	check("those that began or ended", nil, []string{"k"}, "[holder]", "[k]")
	check("those who are left", nil, []string{"m"}, "[w3]", "[m n]")
}

// testPurgeAmongMany: a purge finds the endings among many ongoing actions, also again and again.
func testPurgeAmongMany(t *testing.T, b Backend) {
	const crowd = 2500
	s := b.handles(t, 1)[0]
	var all []store.Record
	for i := range crowd {
		all = append(all, bare(fmt.Sprint("a", i)))
	}
	all = append(all, bare("z1"), bare("z2"))
	insert(t, s, all...)
	purge := func(want int) {
		t.Helper()
		n, err := s.Purge(within(t), store.Retention{Now: 100, Before: 50, Future: 1000, Limit: 2})
		if err != nil || n != want {
			t.Errorf("purged %d, want %d (error: %v)", n, want, err)
		}
	}
	purge(0)
	end := func(records ...store.Record) {
		t.Helper()
		err := s.Commit(within(t), store.Batch{Light: true}, func(l store.Loaded) (store.Writes, error) {
			return batch{update: records}.number(l.Seq), nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	end(ended(bare("z1"), kapi.StatusCompleted, 60)) // not due yet
	end(ended(bare("a7"), kapi.StatusCompleted, 10), ended(bare("a8"), kapi.StatusCompleted, 20), ended(bare("a9"), kapi.StatusCompleted, 30))
	purge(1) // a look is at most two rows long
	purge(1)
	purge(1)
	purge(0)
	end(ended(bare("z2"), kapi.StatusCompleted, 10))
	purge(1)
	if page := feed(t, s, snapshot(t, s).Purged); len(page.Records) != 0 {
		t.Errorf("the feed after the purge has %v", names(page.Records))
	}
	if n, err := s.Purge(within(t), store.Retention{Now: 100, Before: 70, Future: 1000, Limit: 2}); err != nil || n != 1 {
		t.Errorf("purged %d of the one that was kept (error: %v)", n, err)
	}
}
