package peer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// TestIndexes: after any changes, what a view looks up is what going through all of its actions would find.
func TestIndexes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable
	v := newView(func(*store.Record) {}, func(store.Record) {})
	v.load(store.Snapshot{Head: store.Head{Epoch: "e"}})
	for seq := uint64(1); seq < 3000; seq++ {
		n := random.IntN(200)
		r := store.Record{Action: kapi.Action{
			ID: fmt.Sprint("a", n), Seq: seq, CreatedAt: int64(n * 7 % 50), Status: kapi.StatusRunning,
		}, Fence: uint64(n), Sender: fmt.Sprint("s", n%3)}
		switch random.IntN(4) {
		case 0:
			r.Status = kapi.StatusCompleted
		case 1:
			r.Status, r.Ticket, r.Waits = kapi.StatusPending, uint64(n+1), []string{fmt.Sprint("k", n%4), fmt.Sprint("k", 4+n%3)}
		}
		v.apply(store.Page{Head: store.Head{Epoch: "e", Seq: seq}, Records: []store.Record{r}})
		if seq%100 == 0 {
			checkIndexes(t, v)
		}
	}
	if len(v.order) > 2*len(v.entries)+100 {
		t.Errorf("the order has %d ids of %d actions", len(v.order), len(v.entries))
	}
}

func checkIndexes(t *testing.T, v *view) {
	t.Helper()
	ids := func(all []*entry, want func(*entry) bool) (ids []string) {
		for _, e := range all {
			if want(e) {
				ids = append(ids, e.ID)
			}
		}
		return ids
	}
	all, _ := v.all()
	if len(all) != len(v.entries) || !slices.IsSortedFunc(all, func(a, b *entry) int { return older(&a.Record, &b.Record) }) {
		t.Errorf("a list of %d actions has %d", len(v.entries), len(all))
	}
	for _, sender := range []string{"s0", "s1", "s2", "nobody"} {
		mine, _ := v.startedBy(sender)
		want := ids(all, func(e *entry) bool { return e.Sender == sender })
		if got := ids(mine, func(*entry) bool { return true }); !slices.Equal(got, want) {
			t.Errorf("%s has started %v, want %v", sender, got, want)
		}
	}
	for k := range 7 {
		key := fmt.Sprint("k", k)
		var got []string
		for _, r := range v.Queue(key) {
			got = append(got, r.ID)
		}
		want := ids(all, func(e *entry) bool { return e.Waiting() && slices.Contains(e.Waits, key) })
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%v wait for %s, want %v", got, key, want)
		}
	}
}

// TestOneChangeEncodesOneAction: a list after one change encodes only the action that changed.
func TestOneChangeEncodesOneAction(t *testing.T) {
	const many = 100
	v := newView(func(*store.Record) {}, func(store.Record) {})
	s := store.Snapshot{Head: store.Head{Epoch: "e", Seq: many}}
	for i := range many {
		s.Records = append(s.Records, store.Record{Action: kapi.Action{ID: fmt.Sprint("a", i), Seq: uint64(i + 1), Status: kapi.StatusRunning}})
	}
	v.load(s)
	v.list("")
	before := map[*byte]bool{}
	all, _ := v.all()
	for _, e := range all {
		before[&e.json[0]] = true
	}
	changed := s.Records[7]
	changed.Seq, changed.State = many+1, "changed"
	v.apply(store.Page{Head: store.Head{Epoch: "e", Seq: many + 1}, Records: []store.Record{changed}})
	v.list("")
	all, _ = v.all()
	encoded := 0
	for _, e := range all {
		if !before[&e.json[0]] {
			encoded++
		}
	}
	if encoded != 1 {
		t.Errorf("%d actions were encoded after a change of one", encoded)
	}
}
