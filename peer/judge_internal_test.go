package peer

import (
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// TestOfRunners: actions of one runner are never judged in different parts.
func TestOfRunners(t *testing.T) {
	for _, c := range []struct {
		runners string // one letter for each action
		n, want int
	}{
		{"", 2, 0},
		{"a", 2, 1},
		{"aaaa", 1, 4},
		{"aabb", 1, 2},
		{"aabb", 2, 4},
		{"abbcd", 2, 3},
		{"abc", 3, 3},
	} {
		var entries []*entry
		for _, id := range c.runners {
			entries = append(entries, &entry{Record: store.Record{Action: kapi.Action{Runner: &kapi.Runner{ID: string(id)}}}})
		}
		if got := ofRunners(entries, c.n); got != c.want {
			t.Errorf("%d runners of %q: %d actions, want %d", c.n, c.runners, got, c.want)
		}
	}
}
