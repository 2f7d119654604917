package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A schema is what this program reads of the JSON Schema of an operation's arguments. The operation itself checks the
// arguments; the schema here says how to read the values of --arg, and what to tell people about them.
type schema struct {
	Type                 oneOrMore
	Description          string
	Properties           properties
	Items                *schema
	AdditionalProperties *schema
	Required             []string
	Default              json.RawMessage
	Enum                 []json.RawMessage
	Minimum, Maximum     *json.Number
	never                bool // the schema false, which no value fits
}

// UnmarshalJSON reads a schema, or true or false.
func (s *schema) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("true")) || bytes.Equal(data, []byte("false")) {
		*s = schema{never: data[0] == 'f'}
		return nil
	}
	type plainSchema schema
	if err := json.Unmarshal(data, (*plainSchema)(s)); err != nil {
		return err
	}
	var negated struct {
		Not json.RawMessage `json:"not"`
	}
	if err := json.Unmarshal(data, &negated); err != nil {
		return err
	}
	s.never = bytes.Equal(bytes.TrimSpace(negated.Not), []byte("{}"))
	return nil
}

// oneOrMore is the type of a value, or several.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		*o = oneOrMore{""}
		return json.Unmarshal(data, &(*o)[0])
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// properties are in the order of the schema.
type properties []property

type property struct {
	name   string
	schema *schema
}

func (p *properties) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return fmt.Errorf("properties must be an object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		of := property{name: fmt.Sprint(name), schema: &schema{}}
		if err := d.Decode(of.schema); err != nil {
			return err
		}
		*p = append(*p, of)
	}
	return nil
}

// parseSchema returns the schema of an operation that takes arguments. It is empty if raw can't be read, or is nested too
// deeply: then the values of --arg are passed on as they are, for the operation to check.
func parseSchema(raw json.RawMessage) *schema {
	var s schema
	if tooDeep(raw) || json.Unmarshal(raw, &s) != nil {
		return &schema{}
	}
	return &s
}

// tooDeep reports whether JSON is nested more deeply than the schema of any arguments. The time that a schema takes to
// read and to describe grows with the square of that.
func tooDeep(raw json.RawMessage) bool {
	const most = 100
	d := json.NewDecoder(bytes.NewReader(raw))
	for depth := 0; ; {
		token, err := d.Token()
		switch {
		case err != nil:
			return false
		case token == json.Delim('{'), token == json.Delim('['):
			depth++
		case token == json.Delim('}'), token == json.Delim(']'):
			depth--
		}
		if depth > most {
			return true
		}
	}
}

// is reports whether values of the schema may have the type.
func (s *schema) is(kind string) bool { return slices.Contains(s.Type, kind) }

// open reports whether names are allowed that the schema doesn't have.
func (s *schema) open() bool {
	if s.AdditionalProperties != nil {
		return !s.AdditionalProperties.never
	}
	return len(s.Properties) == 0
}

// named reports whether it describes values of any name.
func (s *schema) named() bool { return s.AdditionalProperties != nil && !s.AdditionalProperties.never }

// find returns the path to an argument and its schema: a name with dots leads into objects. It is nil if there is no
// such argument.
func (s *schema) find(name string) (path []string, of *schema) {
	var within *property
	for i, p := range s.Properties {
		if p.name == name {
			return []string{name}, p.schema
		}
		if strings.HasPrefix(name, p.name+".") && (within == nil || len(p.name) > len(within.name)) {
			within = &s.Properties[i]
		}
	}
	if within != nil {
		if rest, of := within.schema.find(name[len(within.name)+1:]); of != nil && (within.schema.is("object") || len(within.schema.Type) == 0) {
			return append([]string{within.name}, rest...), of
		}
		return nil, nil
	}
	if !s.open() || name == "" {
		return nil, nil
	}
	of = s.AdditionalProperties
	if of == nil {
		of = &schema{}
	}
	if first, rest, nested := strings.Cut(name, "."); nested && of.is("object") {
		if more, of := of.find(rest); of != nil {
			return append([]string{first}, more...), of
		}
	}
	return []string{name}, of
}

// names returns the names of all arguments, with dots for those in objects.
func (s *schema) names() (all []string) {
	for _, p := range s.Properties {
		if len(p.schema.Properties) == 0 || !p.schema.is("object") {
			all = append(all, p.name)
			continue
		}
		for _, name := range p.schema.names() {
			all = append(all, p.name+"."+name)
		}
	}
	return all
}
