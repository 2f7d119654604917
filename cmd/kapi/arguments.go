package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kettubot/kapi/internal/wellformed"
)

// arguments are those of an operation, put together from --args and each --arg.
type arguments struct {
	operation string
	schema    *schema // nil if it takes none
	values    map[string]any
	given     map[string]bool // the names that an --arg has set
}

// newArguments begins with the object of --args; text may be empty.
func newArguments(operation string, of *schema, text string) (*arguments, error) {
	a := &arguments{operation, of, map[string]any{}, map[string]bool{}}
	if text == "" {
		return a, nil
	}
	if flaw := wellformed.JSON([]byte(text)); flaw != "" { // the decoder would alter it
		return nil, usage("--args: a text in it %s", flaw)
	}
	if name, twice := givenTwice(json.NewDecoder(strings.NewReader(text))); twice { // the decoder would take the last
		return nil, usage("--args: has %q twice", name)
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&a.values); err != nil || a.values == nil {
		return nil, errNoObject
	}
	return a, nil
}

var errNoObject = usage("--args: must be a JSON object, as in --args '{\"NAME\": \"VALUE\"}'")

// givenTwice finds a name that an object in a JSON value has twice.
func givenTwice(d *json.Decoder) (name string, twice bool) {
	start, err := d.Token()
	if _, ok := start.(json.Delim); err != nil || !ok {
		return "", false
	}
	names := map[string]bool{}
	for d.More() {
		if start == json.Delim('{') {
			token, err := d.Token()
			if err != nil {
				return "", false
			}
			if name, _ = token.(string); names[name] {
				return name, true
			}
			names[name] = true
		}
		if name, twice := givenTwice(d); twice {
			return name, true
		}
	}
	_, _ = d.Token() // its end
	return "", false
}

// isObject reports whether a text is a JSON object.
func isObject(text string) bool {
	return json.Valid([]byte(text)) && strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{")
}

// add adds the value of an --arg, NAME=VALUE. The error names the argument, and doesn't quote the value.
func (a *arguments) add(text string) error {
	name, value, ok := strings.Cut(text, "=")
	switch {
	case !ok || name == "":
		return usage("--arg: must be NAME=VALUE")
	case wellformed.Text(value) != "": // its JSON would have U+FFFD instead of the invalid bytes
		return usage("--arg %s: is not valid UTF-8", name)
	case a.schema == nil:
		return usage("--arg %s: operation %s takes no arguments", name, a.operation)
	}
	path, of := a.schema.find(name)
	if of == nil {
		return usage("--arg %s: operation %s has no such argument%s", name, a.operation, itsArguments(a.schema))
	}
	into := a.values
	for _, step := range path[:len(path)-1] {
		next, ok := into[step].(map[string]any)
		if !ok {
			next = map[string]any{}
			into[step] = next
		}
		into = next
	}
	last, again := path[len(path)-1], a.given[name]
	a.given[name] = true
	if of.is("array") && !strings.HasPrefix(strings.TrimSpace(value), "[") {
		item, flaw := read(orAny(of.Items), value)
		if flaw != "" {
			return usage("--arg %s: each of its values %s", name, flaw)
		}
		list, _ := into[last].([]any)
		if !again {
			list = nil // --arg overrides --args
		}
		into[last] = append(list, item)
		return nil
	}
	if again {
		return usage("--arg %s: is given twice, and is not a list", name)
	}
	read, flaw := read(of, value)
	if flaw != "" {
		return usage("--arg %s: %s", name, flaw)
	}
	into[last] = read
	return nil
}

// orAny returns s, or the schema that any value fits.
func orAny(s *schema) *schema {
	if s == nil {
		return &schema{}
	}
	return s
}

func itsArguments(s *schema) string {
	if names := s.names(); len(names) > 0 {
		return "; it has " + list(names, "and")
	}
	return ""
}

// json returns the arguments as a JSON object.
func (a *arguments) json() (json.RawMessage, error) { return json.Marshal(a.values) }

var (
	integer = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
)

// read makes JSON of a value by the type that the schema has. If there is none, or several, a value that is JSON of one
// of them is taken as such, and any other as a text. flaw says what the value must be, "" if it is that.
func read(of *schema, value string) (v any, flaw string) {
	kinds := of.Type
	if len(kinds) == 0 {
		kinds = oneOrMore{"null", "boolean", "number", "array", "object", "string"}
	}
	for _, kind := range []struct {
		name, must string
		fits       func(string) bool
	}{
		{"null", "must be null", func(s string) bool { return s == "null" }},
		{"boolean", "must be true or false", func(s string) bool { return s == "true" || s == "false" }},
		{"integer", "must be a whole number", integer.MatchString},
		{"number", "must be a number", decimal.MatchString},
		{"array", "must be a list, as JSON", func(s string) bool { return startsAs(s, '[') }},
		{"object", "must be an object, as JSON", func(s string) bool { return startsAs(s, '{') }},
	} {
		if !slices.Contains(kinds, kind.name) {
			continue
		}
		if kind.fits(value) {
			return json.RawMessage(value), ""
		}
		flaw = kind.must
	}
	if slices.Contains(kinds, "string") {
		return value, ""
	}
	if len(kinds) > 1 {
		flaw = fmt.Sprintf("must be of type %s", list(kinds, "or"))
	}
	return nil, flaw
}

func startsAs(text string, delimiter byte) bool {
	raw := []byte(text)
	return json.Valid(raw) && bytes.TrimLeft(raw, " \t\r\n")[0] == delimiter
}
