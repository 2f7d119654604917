package peer

import (
	"slices"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/rules"
	"github.com/kettubot/kapi/internal/store"
)

// A transaction that may make an action vacant reads how far its checkpoints have come. One that continues an action
// finds it, and a light one that may free a turn looks up who waits for it. Nothing more is read for ordinary actions.
func TestNeeds(t *testing.T) {
	v := newView(func(*store.Record) {}, func(store.Record) {})
	ordinary := store.Record{Action: kapi.Action{ID: "ordinary", Status: kapi.StatusRunning, Seq: 1, Keys: []string{"k"}}}
	limited := store.Record{
		Action:  kapi.Action{ID: "limited", Status: kapi.StatusRunning, Seq: 2, Operation: "op"},
		Defined: &store.Defined{Limit: 1, Turn: 1},
	}
	v.load(store.Snapshot{Head: store.Head{Epoch: "e", Seq: 2}, Records: []store.Record{ordinary, limited}})
	m := &committer{view: v}
	ends := rules.Report{Fence: 1, Status: kapi.StatusCompleted}
	turns := []string{store.TurnsKey("op"), store.TurnKey("op", 1)}
	continuing := store.Record{Action: kapi.Action{ID: "new", Operation: "op"}, Defined: &store.Defined{Limit: 1, Continues: "failed"}}
	for name, c := range map[string]struct {
		change            rules.Change
		marks, find, keys []string // find is for a full peer, keys are for a light one
	}{
		"a verdict":          {rules.Change{Kind: rules.KindVerdict, ID: "limited"}, []string{"limited"}, nil, nil},
		"of an ordinary one": {rules.Change{Kind: rules.KindVerdict, ID: "ordinary"}, nil, nil, nil},
		"of an unknown one":  {rules.Change{Kind: rules.KindVerdict, ID: "x"}, []string{"x"}, []string{"x"}, nil},
		"a hand-over":        {rules.Change{Kind: rules.KindVacate, ID: "limited"}, []string{"limited"}, nil, nil},
		"an end":             {rules.Change{Kind: rules.KindReport, ID: "limited", Report: ends}, nil, nil, turns},
		"an ordinary end":    {rules.Change{Kind: rules.KindReport, ID: "ordinary", Report: ends}, nil, nil, []string{"k"}},
		"a continuation":     {rules.Change{Kind: rules.KindStart, Action: &continuing}, nil, []string{"failed"}, turns},
		"a claim":            {rules.Change{Kind: rules.KindClaim, ID: "limited", Action: &limited}, nil, nil, turns},
	} {
		batch := []*submission{submissionOf(c.change)}
		full, light := m.needs(v.at(), batch), m.lightNeeds(batch, &beside{find: []string{"asked"}})
		if !slices.Equal(full.Marks, c.marks) || !slices.Equal(light.Marks, c.marks) {
			t.Errorf("%s: a full peer reads the marks of %q, a light one of %q, want %q", name, full.Marks, light.Marks, c.marks)
		}
		if !slices.Equal(full.Find, c.find) || !slices.Contains(light.Find, "asked") || slices.ContainsFunc(c.find, func(id string) bool { return !slices.Contains(light.Find, id) }) {
			t.Errorf("%s: a full peer finds %q, a light one %q, want %q", name, full.Find, light.Find, c.find)
		}
		sorted := func(keys []string) []string {
			keys = slices.Clone(keys)
			slices.Sort(keys)
			return slices.Compact(keys)
		}
		if got, want := sorted(light.Keys), sorted(c.keys); !slices.Equal(got, want) {
			t.Errorf("%s: a light peer looks up %q, want %q", name, got, want)
		}
	}
}
