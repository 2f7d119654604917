package main

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/kettubot/kapi"
)

// TestHarmlessCompletions checks that a shell is offered no word that it would expand: bash runs commands in them.
func TestHarmlessCompletions(t *testing.T) {
	schema := json.RawMessage(`{"type": "object", "properties": {
		"slots": {}, "ключ_2": {}, "$(touch pwned)": {}, "a` + "`id`" + `": {}, "a b": {}, "*": {}, "a;b": {}, "~": {}, "a'b": {}, "a\\b": {}, "\u001b[2J": {},
		"node": {"type": "object", "properties": {"x-y": {}, "${HOME}": {}}}
	}}`)
	c := completeCmd{What: "arguments"}
	got := c.completions([]kapi.Offer{{Name: "reshard", Schema: schema}}, "reshard")
	if want := []string{"slots=", "ключ_2=", "node.x-y="}; !slices.Equal(got, want) {
		t.Errorf("offered %q, want %q", got, want)
	}
}
