package operation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Parsed JSON consists of the types of encoding/json, with two exceptions: numbers stay as they were written, and an
// object is told from a map.

type object map[string]any

// maxDepth is how deep arguments may be nested.
const maxDepth = 32

// parse parses a JSON value. Unlike encoding/json it refuses an object with two fields of one name, of which one would
// be ignored.
func parse(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	value, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("must not be followed by something else")
	}
	return value, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, notJSON(err)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("must not be nested more than %d times", maxDepth)
	}
	switch token {
	case json.Delim('{'):
		return parseObject(d, depth)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := d.Token()
		return list, notJSON(err)
	}
	if n, ok := token.(json.Number); ok && !handy(string(n)) {
		return nil, fmt.Errorf("must not have a number that is too long or too large: %.40s", n)
	}
	return token, nil
}

// handy reports whether a number has at most 100 characters and an exponent of at most three digits: to compare others
// exactly could take all memory there is.
func handy(number string) bool {
	_, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	return len(number) <= 100 && len(strings.TrimLeft(exponent, "+-0")) <= 3
}

func parseObject(d *json.Decoder, depth int) (any, error) {
	o := object{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		field, _ := name.(string)
		if _, twice := o[field]; twice {
			return nil, fmt.Errorf("must not have %q twice", field)
		}
		if o[field], err = parseValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return o, notJSON(err)
}

func notJSON(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("must be JSON: it ends too soon")
	}
	return fmt.Errorf("must be JSON: %w", err)
}

// plainly returns a parsed value in the types that package jsonschema knows.
func plainly(value any) any {
	switch v := value.(type) {
	case object:
		m := make(map[string]any, len(v))
		for name, field := range v {
			m[name] = plainly(field)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plainly(v[i])
		}
		return list
	}
	if n, ok := value.(json.Number); ok {
		return numeric(n)
	}
	return value
}

// numeric returns the number in the smallest type that has it exactly, or else as the nearest float64.
func numeric(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return u
	}
	f, _ := n.Float64()
	return f
}

// kindOf returns the type of a parsed value in the terms of schemas.
func kindOf(value any) string {
	switch v := value.(type) {
	case object:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Number:
		if _, float := numeric(v).(float64); float {
			return "number"
		}
		return "integer"
	}
	return "null"
}
