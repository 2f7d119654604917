package rules

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kettubot/kapi/internal/store"
)

// again makes the plan of a script's batch again, with only what a light peer would read: what the batch names, and
// then what the plan asks for. The result must be the same.
func (s *script) again(l store.Loaded, answers []string, want store.Writes, wanted []store.Record) {
	s.t.Helper()
	var ids, keys []string
	for id := range s.world.records {
		if slices.ContainsFunc(s.batch, func(step step) bool { return names(step.at.text, id) }) {
			ids = append(ids, id)
		}
	}
	for range 10 {
		loaded := s.world.load(l, ids, keys)
		part := NewPartial(&loaded)
		if more := slices.DeleteFunc(part.Continued(), func(id string) bool { return slices.Contains(ids, id) }); len(more) > 0 {
			ids = append(ids, more...)
			continue
		}
		pl := NewPlan(part, loaded, s.busy, s.now, Limits{Lease: aLease})
		var got []string
		for _, step := range s.batch {
			got = append(got, step.do(pl))
		}
		w, records := pl.Writes()
		if missing := part.Missing(); len(missing) > 0 {
			keys = append(keys, missing...)
			continue
		}
		for _, writes := range []*store.Writes{&w, &want} {
			slices.Sort(writes.Free)
			slices.SortFunc(writes.Claim, func(a, b store.Claim) int { return cmp.Compare(a.Key, b.Key) })
			slices.SortFunc(writes.Runners, func(a, b store.RunnerRecord) int { return cmp.Compare(a.ID, b.ID) })
		}
		if !slices.Equal(got, answers) || !reflect.DeepEqual(w, want) || !reflect.DeepEqual(records, wanted) {
			s.bad("the plan of a light peer, which has read %q and %q, differs: got\n%q\n%+v\n%+v\nwant\n%q\n%+v\n%+v", ids, keys, got, w, records, answers, want, wanted)
		}
		return
	}
	s.bad("the plan keeps asking for more keys: %q", keys)
}

// names reports whether one of the words of a line is id.
func names(line, id string) bool {
	return slices.Contains(strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" ,=", r) }), id)
}

// load adds to l what a store loads for a light batch only.
func (w *world) load(l store.Loaded, ids, keys []string) store.Loaded {
	l.Held, l.Found = map[string]string{}, slices.Clone(l.Found)
	for keys = slices.Clone(keys); len(keys) > 0; keys = keys[1:] {
		if _, known := l.Held[keys[0]]; known {
			continue
		}
		if l.Held[keys[0]] = w.Holder(keys[0]); l.Held[keys[0]] != "" {
			ids = append(ids, l.Held[keys[0]])
		}
		for _, r := range w.Queue(keys[0]) {
			ids, keys = append(ids, r.ID), append(keys, r.Waits...)
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if r, ok := w.records[id]; ok {
			l.Found = append(l.Found, r)
		}
	}
	return l
}

// A key that was not looked up is distinguished from a key that nobody holds.
func TestPartialAsksForMore(t *testing.T) {
	a := store.Record{}
	a.ID, a.Status, a.Keys = "a", 1, []string{"own"}
	p := NewPartial(&store.Loaded{Found: []store.Record{a}, Held: map[string]string{"free": "", "recorded": "x"}})
	for key, want := range map[string]string{"own": "a", "free": "", "recorded": "", "other": ""} {
		if got := p.Holder(key); got != want {
			t.Errorf("%s is held by %q, want %q", key, got, want)
		}
	}
	if got := p.Missing(); !slices.Equal(got, []string{"other"}) {
		t.Errorf("missing: %q", got)
	}
}
