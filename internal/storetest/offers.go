package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// testTurns: turns are claimed and waited for like keys.
func testTurns(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	turn, turns := store.TurnKey("reshard", 1), store.TurnsKey("reshard")
	mustCommit(t, stores[0], batch{
		insert: []store.Record{bare("holder"), waiting("w1", 1, "k", turns), waiting("w2", 2, turns), waiting("w3", 3, "reshard")},
		claim:  []store.Claim{{Key: turn, Action: "holder"}},
	})
	if _, err := commit(within(t), stores[1], batch{insert: []store.Record{bare("next")}, claim: []store.Claim{{Key: turn, Action: "next"}}}); !errors.Is(err, store.ErrKeyTaken) {
		t.Errorf("a turn was claimed twice: %v", err)
	}
	for _, name := range []string{store.TurnKey("reshard", 11), store.TurnKey("reshard ", 1), "reshard", turns} {
		mustCommit(t, stores[1], batch{insert: []store.Record{bare("of " + name)}, claim: []store.Claim{{Key: name, Action: "of " + name}}, free: []string{name}})
	}
	found, looked := light(t, stores[1], nil, turn, turns)
	if got, want := fmt.Sprintf("%q %q", found, looked), fmt.Sprintf("%q %q", []string{"holder", "of " + turns, "w1", "w2"}, []string{turns, turn, "k"}); got != want {
		t.Errorf("a light transaction found and looked up %s, want %s", got, want)
	}
	granted := waiting("w2", 2)
	granted.Status = kapi.StatusRunning
	mustCommit(t, stores[0], batch{update: []store.Record{granted}, free: []string{turn}, claim: []store.Claim{{Key: turn, Action: "w2"}}})
	if found, _ := light(t, stores[1], nil, turn); fmt.Sprint(found) != "[w2]" {
		t.Errorf("the turn belongs to %v", found)
	}
}

// offered returns what is offered, in short, and checks the runners and times.
func offered(t *testing.T, s store.Store) string {
	t.Helper()
	all, err := s.Offers(within(t))
	if err != nil {
		t.Fatalf("Offers: %v", err)
	}
	text := ""
	for _, o := range all {
		if age := time.Since(time.UnixMilli(o.OfferedAt)); age < -time.Second || age > deadline {
			t.Errorf("%s was offered %v ago", o.Name, age)
		}
		text += fmt.Sprintf("%s=%s(", o.Name, o.About)
		for _, r := range o.Runners {
			text += r.ID + " "
			if want, err := s.Runners(within(t), []string{r.ID}); err != nil || !reflect.DeepEqual([]store.RunnerRecord{r}, want) {
				t.Errorf("a runner of %s is\n\t%+v\nwant\n\t%+v (error: %v)", o.Name, r, want, err)
			}
		}
		text += ") "
	}
	return text
}

func offer(t *testing.T, s store.Store, runner string, names ...string) {
	t.Helper()
	if runner != "" {
		if err := s.Renew(within(t), runnerRecord(runner)); err != nil {
			t.Fatalf("Renew: %v", err)
		}
	}
	var all []store.OfferRecord
	for _, name := range names {
		all = append(all, store.OfferRecord{Name: name, About: []byte(`"by ` + runner + `"`)})
	}
	if err := s.Offer(within(t), runner, all); err != nil {
		t.Fatalf("Offer: %v", err)
	}
}

// testOffers: every handle sees what each peer offers, as it was last described.
func testOffers(t *testing.T, b Backend) {
	stores := b.handles(t, 2)
	want := func(want string) {
		t.Helper()
		for i, s := range stores {
			if got := offered(t, s); got != want {
				t.Errorf("offered, at handle %d, is %q, want %q", i, got, want)
			}
		}
	}
	before := feed(t, stores[0], 0)
	want("")
	offer(t, stores[0], "r1", "b", "a")
	want(`a="by r1"(r1 ) b="by r1"(r1 ) `)
	offer(t, stores[1], "r2", "b", "B", "ü")
	want(`B="by r2"(r2 ) a="by r1"(r1 ) b="by r2"(r1 r2 ) ü="by r2"(r2 ) `)
	offer(t, stores[0], "r1", "c")
	want(`B="by r2"(r2 ) a="by r1"() b="by r2"(r2 ) c="by r1"(r1 ) ü="by r2"(r2 ) `)
	offer(t, stores[0], "r2")
	want(`B="by r2"() a="by r1"() b="by r2"() c="by r1"(r1 ) ü="by r2"() `)
	if after := feed(t, stores[1], 0); after.Head != before.Head {
		t.Errorf("offers moved the head from %+v to %+v", before.Head, after.Head)
	}
	about := bytes.Repeat([]byte(`"schema" `), 10_000)
	if err := stores[0].Offer(within(t), "nobody", []store.OfferRecord{{Name: "big", About: about}}); err != nil {
		t.Fatal(err)
	}
	all, err := stores[1].Offers(within(t))
	if err != nil || len(all) != 6 || all[3].Name != "big" || !bytes.Equal(all[3].About, about) || len(all[3].Runners) != 0 {
		t.Errorf("an offer of an unknown runner: %d, %v", len(all), err)
	}
}

// testPurgeOffers: a purge forgets the offers of runners that are gone, and operations that nobody has offered for long.
func testPurgeOffers(t *testing.T, b Backend) {
	s := b.handles(t, 1)[0]
	offer(t, s, "gone", "old", "both")
	offer(t, s, "there", "both", "new")
	busy := bare("busy")
	busy.Runner = &kapi.Runner{ID: "there"}
	insert(t, s, busy)
	purge := func(offered int64) {
		t.Helper()
		all := store.Retention{Now: 100, Before: math.MaxInt64, Future: math.MaxInt64, Limit: 100, Offered: offered}
		if _, err := s.Purge(within(t), all); err != nil {
			t.Fatalf("Purge: %v", err)
		}
	}
	purge(0)
	purge(time.Now().Add(-deadline).UnixMilli())
	if got := offered(t, s); got != `both="by there"(gone there ) new="by there"(there ) old="by gone"(gone ) ` {
		t.Errorf("with nothing due, offered is %q", got)
	}
	future := time.Now().Add(deadline).UnixMilli()
	purge(future)
	if got := offered(t, s); got != `both="by there"(there ) new="by there"(there ) ` {
		t.Errorf("after the purge, offered is %q", got)
	}
	offer(t, s, "there", "new")
	purge(future)
	if got := offered(t, s); got != `new="by there"(there ) ` {
		t.Errorf("after the next purge, offered is %q", got)
	}
}
