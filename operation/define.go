package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/kettubot/kapi"
)

// Of describes an operation whose arguments have the type A, a struct. Fields that are not described here are those of
// a kapi.Definition.
type Of[A any] struct {
	Name, Title, Description string
	// Refine, unless nil, adds to the schema that was derived from A what its tags can't say: limits, allowed values,
	// defaults. A field is optional if its json tag has omitempty or omitzero, or if it has a default. A jsonschema tag
	// is its description. The schema must not refer to others ($ref).
	Refine    func(*jsonschema.Schema)
	Version   int
	Reads     int
	Limit     int
	Resume    *kapi.Resume
	Retry     kapi.Retry
	Keys      func(A) ([]string, error)
	Preflight func(context.Context, A) (kapi.Preview, error)
	Run       func(context.Context, kapi.OperationHandle, A) error
}

// Define makes the definition. If A can't be described by a schema, or a default is wrong, the definition has a Flaw,
// and the peer that is given it can't be opened.
func Define[A any](of Of[A]) kapi.Definition {
	d := kapi.Definition{
		Name: of.Name, Title: of.Title, Description: of.Description, Version: of.Version, Reads: of.Reads,
		Limit: of.Limit, Resume: of.Resume, Retry: of.Retry,
	}
	s, err := newSchema(reflect.TypeFor[A](), of.Refine)
	if err != nil {
		d.Flaw = err
		return d
	}
	d.Schema, d.Check = s.text, s.check
	if of.Keys != nil {
		d.Keys = func(arguments json.RawMessage) ([]string, error) {
			a, err := decode[A](arguments)
			if err != nil {
				return nil, err
			}
			return of.Keys(a)
		}
	}
	if of.Preflight != nil {
		d.Preflight = func(ctx context.Context, arguments json.RawMessage) (kapi.Preview, error) {
			a, err := decode[A](arguments)
			if err != nil {
				return kapi.Preview{}, err
			}
			return of.Preflight(ctx, a)
		}
	}
	if of.Run != nil {
		d.Run = func(ctx context.Context, h kapi.OperationHandle, arguments json.RawMessage) error {
			a, err := decode[A](arguments)
			if err != nil {
				return err
			}
			return of.Run(ctx, Wrap(h), a)
		}
	}
	return d
}

func decode[A any](arguments json.RawMessage) (a A, err error) {
	if err := decodeStrictly(arguments, &a); err != nil {
		return a, fmt.Errorf("the arguments: %w", err)
	}
	return a, nil
}

// newSchema derives the schema of a type of arguments.
func newSchema(of reflect.Type, refine func(*jsonschema.Schema)) (*schema, error) {
	if of.Kind() != reflect.Struct {
		return nil, fmt.Errorf("its arguments are a %v: they must be a struct", of)
	}
	root, err := jsonschema.ForType(of, nil)
	if err != nil {
		return nil, fmt.Errorf("its arguments have no schema: %w", err)
	}
	plain(root)
	if refine != nil {
		refine(root)
	}
	if root.Type != "object" {
		return nil, errors.New("its arguments must be an object")
	}
	optional(root)
	return compile(root, of)
}

// plain makes optional slices, maps and pointers what they are if they are given: whoever wants none leaves them out.
func plain(s *jsonschema.Schema) {
	each(s, func(s *jsonschema.Schema) {
		if len(s.Types) == 2 && s.Types[0] == "null" {
			s.Type, s.Types = s.Types[1], nil
		}
	})
}

// optional removes from the required properties those that have a default.
func optional(s *jsonschema.Schema) {
	each(s, func(s *jsonschema.Schema) {
		var required []string
		for _, name := range s.Required {
			if p := s.Properties[name]; p == nil || p.Default == nil {
				required = append(required, name)
			}
		}
		s.Required = required
	})
}

// each calls f with a schema and those of its properties and items.
func each(s *jsonschema.Schema, f func(*jsonschema.Schema)) {
	if s == nil {
		return
	}
	f(s)
	for _, p := range s.Properties {
		each(p, f)
	}
	each(s.Items, f)
	if s.AdditionalProperties != nil && s.AdditionalProperties.Not == nil {
		each(s.AdditionalProperties, f)
	}
}
