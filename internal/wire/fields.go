package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/kettubot/kapi/internal/wellformed"
)

// Fields is the JSON object of a request's body. Its fields are taken out one by one, so that null is told
// from a missing field, and fields that are left over can be refused. It is encoded with sorted fields.
type Fields map[string]json.RawMessage

// take moves a field into v, if the body has it. Null is refused.
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

// takeExact is take for texts that must be exact. It refuses invalid UTF-8, which encoding/json would
// replace by U+FFFD, so that different keys could become the same.
func (f Fields) takeExact(name string, v any) error {
	if flaw := wellformed.JSON(f[name]); flaw != "" {
		return BadBody.About(name, flaw)
	}
	_, err := f.take(name, v)
	return err
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

// wanted names the JSON type of a field, as in "must be a string".
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

// Done refuses the body if a field is left that was not taken.
func (f Fields) Done() error {
	if len(f) == 0 {
		return nil
	}
	name := slices.Min(slices.Collect(maps.Keys(f)))
	return BadBody.With(fmt.Sprintf("unknown field %.100q", name), Facts{Field: name, Reason: "is unknown"})
}
