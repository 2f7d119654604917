package operation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/kettubot/kapi"
)

// A schema is the schema of the arguments of one operation, ready to check them.
type schema struct {
	of       reflect.Type
	text     json.RawMessage
	root     *jsonschema.Schema
	resolved map[*jsonschema.Schema]*jsonschema.Resolved // of the root, and of each schema below it
	limits   map[*jsonschema.Schema][]limit
}

func compile(root *jsonschema.Schema, of reflect.Type) (*schema, error) {
	text, err := json.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("its schema can't be encoded: %w", err)
	}
	s := &schema{of: of, text: text, root: root, resolved: map[*jsonschema.Schema]*jsonschema.Resolved{}, limits: map[*jsonschema.Schema][]limit{}}
	each(root, func(part *jsonschema.Schema) {
		resolved, wrong := part.CloneSchemas().Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
		limits, wrongLimit := limitsOf(part)
		s.resolved[part], s.limits[part] = resolved, limits
		err = errors.Join(err, wrong, wrongLimit)
	})
	if err != nil {
		return nil, fmt.Errorf("its schema is wrong: %w", err)
	}
	return s, nil
}

// maxErrors is how many wrong fields are named at most.
const maxErrors = 100

// check implements Definition.Check.
func (s *schema) check(arguments json.RawMessage) (json.RawMessage, []kapi.FieldError) {
	if len(bytes.TrimSpace(arguments)) == 0 {
		arguments = json.RawMessage("{}")
	}
	value, err := parse(arguments)
	if err != nil {
		return nil, []kapi.FieldError{{Reason: err.Error()}}
	}
	c := checker{schema: s}
	value = c.check("", s.root, value)
	if len(c.wrong) > 0 {
		return nil, c.wrong[:min(len(c.wrong), maxErrors)]
	}
	checked, err := json.Marshal(value)
	if err != nil {
		return nil, []kapi.FieldError{{Reason: err.Error()}}
	}
	if err := decodeStrictly(checked, reflect.New(s.of).Interface()); err != nil {
		return nil, []kapi.FieldError{asFieldError(err)}
	}
	return checked, nil
}

// A checker checks arguments, and notes what is wrong.
type checker struct {
	*schema
	wrong []kapi.FieldError
}

func (c *checker) note(field, format string, args ...any) {
	c.wrong = append(c.wrong, kapi.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// check checks the value of a field, and returns it with the defaults of the fields below it.
func (c *checker) check(field string, s *jsonschema.Schema, value any) any {
	before := len(c.wrong)
	switch v := value.(type) {
	case object:
		if s.Type == "object" {
			value = c.checkObject(field, s, v)
		}
	case []any:
		if s.Type == "array" && s.Items != nil {
			for i := range v {
				v[i] = c.check(field+"["+strconv.Itoa(i)+"]", s.Items, v[i])
			}
		}
	}
	if len(c.wrong) > before { // what is wrong below the field is named already
		return value
	}
	if err := c.resolved[s].Validate(plainly(value)); err != nil {
		c.note(field, "%s", c.reason(s, value, err))
	}
	return value
}

func (c *checker) checkObject(field string, s *jsonschema.Schema, given object) object {
	path := func(name string) string {
		if field == "" {
			return name
		}
		return field + "." + name
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch part := s.Properties[name]; {
		case part != nil:
			given[name] = c.check(path(name), part, given[name])
		case s.AdditionalProperties == nil:
		case s.AdditionalProperties.Not == nil:
			given[name] = c.check(path(name), s.AdditionalProperties, given[name])
		case len(s.Properties) == 0:
			c.note(path(name), "is unknown: there are no such arguments")
		default:
			c.note(path(name), "is unknown; known: %s", strings.Join(names(s), ", "))
		}
	}
	for _, name := range names(s) {
		if _, ok := given[name]; ok {
			continue
		}
		if def := s.Properties[name].Default; def != nil {
			value, err := parse(def)
			if err != nil {
				c.note(path(name), "has a default that can't be used: %v", err)
			}
			given[name] = value
		} else if slices.Contains(s.Required, name) {
			c.note(path(name), "is missing")
		}
	}
	return given
}

// names returns the names of the properties in the order of the type's fields.
func names(s *jsonschema.Schema) []string {
	all := slices.Sorted(maps.Keys(s.Properties))
	at := func(name string) int {
		if i := slices.Index(s.PropertyOrder, name); i >= 0 {
			return i
		}
		return len(s.PropertyOrder)
	}
	slices.SortStableFunc(all, func(a, b string) int { return at(a) - at(b) })
	return all
}

// reason says what is wrong with a value, in the words of people where a schema says it in those of schemas.
func (s *schema) reason(part *jsonschema.Schema, value any, err error) string {
	want := map[string]string{
		"string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false", "object": "an object", "array": "a list",
	}[part.Type]
	if is := kindOf(value); want != "" && is != part.Type && (is != "integer" || part.Type != "number") {
		return fmt.Sprintf("must be %s, not %s", want, show(value))
	}
	for _, l := range s.limits[part] {
		if l.alone.Validate(plainly(value)) != nil {
			return l.text + ", not " + show(value)
		}
	}
	return "doesn't fit the schema: " + err.Error()
}

// asFieldError turns an error of decoding into one about a field.
func asFieldError(err error) kapi.FieldError {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return kapi.FieldError{Field: wrongType.Field, Reason: fmt.Sprintf("doesn't fit: %s is no %v", wrongType.Value, wrongType.Type)}
	}
	return kapi.FieldError{Reason: err.Error()}
}

// decodeStrictly decodes a JSON value, and returns an error for an unknown field or anything after the value.
func decodeStrictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the value")
	}
	return nil
}
