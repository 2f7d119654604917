package main

import (
	"encoding/json"
	"slices"
	"strings"
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

// TestArgumentsAreNotAltered checks that what JSON can't say, or can say twice, is refused instead of being changed.
func TestArgumentsAreNotAltered(t *testing.T) {
	of := parseSchema(json.RawMessage(`{"type": "object", "properties": {"a": {"type": "string"}, "b": {}}}`))
	for _, text := range []string{`{"a":"1","a":"2"}`, `{"b":[{},{"c":[1],"c":2}]}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`} {
		if a, err := newArguments("x", of, text); !is[*usageError](err) {
			t.Errorf("--args %q: %+v, %v", text, a, err)
		}
	}
	a, err := newArguments("x", of, `{"a":"1","b":[{"a":1},{"a":2}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.add("a=\xff"); !is[*usageError](err) {
		t.Errorf("--arg with an invalid byte: %v", err)
	}
}

// TestDescriptionHasLines checks that the help of an operation keeps the lines of its description, and nothing that
// changes a terminal.
func TestDescriptionHasLines(t *testing.T) {
	var out strings.Builder
	err := describeOffer(&out, kapi.Offer{Name: "x", Title: "X\n\x1b[2J", Description: "first\r\n\nsecond\x1b[31m"})
	if err != nil || !strings.Contains(out.String(), "\nX\\n\\x1b[2J\n\nfirst\n\nsecond\\x1b[31m\n") {
		t.Errorf("%v, %q", err, out.String())
	}
}

// TestDeepSchema checks that a schema which is nested thousands of times, as another program may have written it to the
// store, isn't read.
func TestDeepSchema(t *testing.T) {
	nested := func(times int) json.RawMessage {
		return json.RawMessage(strings.Repeat(`{"type":"object","properties":{"a":`, times) + "{}" + strings.Repeat("}}", times))
	}
	if names := parseSchema(nested(40)).names(); len(names) != 1 {
		t.Errorf("40 levels: %q", names)
	}
	if names := parseSchema(nested(3000)).names(); len(names) != 0 {
		t.Errorf("3000 levels: %.40q", names)
	}
}
