package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/kettubot/kapi/internal/wellformed"
)

// Fields is a body, a JSON object, whose fields are taken out one by one: null is told from a field that
// isn't there, and one that there isn't is refused. Encoded, it has its fields in order.
type Fields map[string]json.RawMessage

// take reads a field into v, if it is there. Null is refused.
func (f Fields) take(name string, v any) (given bool, err error) {
	raw, ok := f[name]
	if !ok {
		return false, nil
	}
	if isNull(raw) {
		return false, BadBody.About(name, "must not be null")
	}
	delete(f, name)
	if err := json.Unmarshal(raw, v); err != nil {
		return false, BadBody.About(name, "must be "+wanted(v))
	}
	return true, nil
}

// takeExact is take for what package encoding/json would alter: it replaces bytes that are not UTF-8,
// which makes one key of two.
func (f Fields) takeExact(name string, v any) error {
	if flaw := wellformed.JSON(f[name]); flaw != "" {
		return BadBody.About(name, flaw)
	}
	_, err := f.take(name, v)
	return err
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

// wanted names the type of a field as JSON has it.
func wanted(v any) string {
	switch v.(type) {
	case *string, **string:
		return "a string"
	case *bool:
		return "true or false"
	case **float64:
		return "a number"
	case *[]string:
		return "a list of strings"
	}
	return "a whole number, not negative"
}

// Done refuses what was not taken.
func (f Fields) Done() error {
	if len(f) == 0 {
		return nil
	}
	name := slices.Min(slices.Collect(maps.Keys(f)))
	return BadBody.With(fmt.Sprintf("unknown field %.100q", name), Facts{Field: name, Reason: "is unknown"})
}
