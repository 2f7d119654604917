package operation

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// A limit is one condition of a schema, and what it demands in the words of people. The library's errors name only the
// first one that is not met, and only in a text.
type limit struct {
	alone *jsonschema.Resolved
	text  string
}

// limitsOf returns the conditions of a schema that have words here.
func limitsOf(s *jsonschema.Schema) (all []limit, err error) {
	add := func(there bool, alone jsonschema.Schema, text func() string) {
		if !there {
			return
		}
		resolved, wrong := alone.Resolve(nil)
		all, err = append(all, limit{resolved, text()}), errors.Join(err, wrong)
	}
	add(s.Enum != nil, jsonschema.Schema{Enum: s.Enum}, func() string { return "must be one of " + list(s.Enum) })
	add(s.Const != nil, jsonschema.Schema{Const: s.Const}, func() string { return "must be " + show(*s.Const) })
	add(s.Minimum != nil, jsonschema.Schema{Minimum: s.Minimum}, func() string { return "must be at least " + number(*s.Minimum) })
	add(s.Maximum != nil, jsonschema.Schema{Maximum: s.Maximum}, func() string { return "must be at most " + number(*s.Maximum) })
	add(s.ExclusiveMinimum != nil, jsonschema.Schema{ExclusiveMinimum: s.ExclusiveMinimum}, func() string { return "must be more than " + number(*s.ExclusiveMinimum) })
	add(s.ExclusiveMaximum != nil, jsonschema.Schema{ExclusiveMaximum: s.ExclusiveMaximum}, func() string { return "must be less than " + number(*s.ExclusiveMaximum) })
	add(s.MultipleOf != nil, jsonschema.Schema{MultipleOf: s.MultipleOf}, func() string { return "must be a multiple of " + number(*s.MultipleOf) })
	add(s.MinLength != nil, jsonschema.Schema{MinLength: s.MinLength}, func() string { return "must have at least " + counted(*s.MinLength, "character", "characters") })
	add(s.MaxLength != nil, jsonschema.Schema{MaxLength: s.MaxLength}, func() string { return "must have at most " + counted(*s.MaxLength, "character", "characters") })
	add(s.Pattern != "", jsonschema.Schema{Pattern: s.Pattern}, func() string { return "must match " + s.Pattern })
	add(s.MinItems != nil, jsonschema.Schema{MinItems: s.MinItems}, func() string { return "must have at least " + counted(*s.MinItems, "entry", "entries") })
	add(s.MaxItems != nil, jsonschema.Schema{MaxItems: s.MaxItems}, func() string { return "must have at most " + counted(*s.MaxItems, "entry", "entries") })
	add(s.UniqueItems, jsonschema.Schema{UniqueItems: true}, func() string { return "must not have an entry twice" })
	return all, err
}

func list(values []any) string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = show(v)
	}
	return strings.Join(all, ", ")
}

// counted returns a number with its noun.
func counted(n int, one, more string) string {
	if n == 1 {
		more = one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// show returns a value as JSON, cut if it is long.
func show(value any) string {
	const most = 80
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	if cut := []rune(string(text)); len(cut) > most {
		return string(cut[:most]) + "..."
	}
	return string(text)
}
