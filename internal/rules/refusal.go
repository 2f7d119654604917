package rules

import (
	"encoding/json"
	"errors"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
)

// RefusalOf returns, for the peer that has recorded a start, why the start is refused by the peer that has claimed it.
func RefusalOf(err error) *store.Refusal {
	var held *kapi.HeldError
	var preflight *kapi.PreflightError
	var arguments *kapi.ArgumentsError
	var invalid *kapi.InvalidError
	switch {
	case errors.As(err, &held):
		holder, _ := json.Marshal(held.Holder) // every field can be encoded
		return &store.Refusal{Key: held.Key, Operation: held.Operation, Limit: held.Limit, Holder: holder}
	case errors.As(err, &preflight):
		return &store.Refusal{Preflight: preflight.Reason}
	case errors.As(err, &arguments):
		f := &store.Refusal{}
		for _, field := range arguments.Fields {
			f.Fields, f.Reasons = append(f.Fields, field.Field), append(f.Reasons, field.Reason)
		}
		return f
	case errors.Is(err, kapi.ErrUnknown): // what it continues
		return &store.Refusal{Unknown: true}
	case errors.As(err, &invalid):
		return &store.Refusal{Invalid: err.Error()}
	}
	return &store.Refusal{Fault: err.Error()}
}

// RefusalError returns the error that RefusalOf has encoded, nil if f is nil.
func RefusalError(operation string, f *store.Refusal) error {
	switch {
	case f == nil:
		return nil
	case f.Key != "" || f.Operation != "":
		held := &kapi.HeldError{Key: f.Key, Operation: f.Operation, Limit: f.Limit}
		if err := json.Unmarshal(f.Holder, &held.Holder); err != nil {
			return &kapi.InvalidError{Reason: "it was refused, and the holder of its key can't be read: " + err.Error()}
		}
		return held
	case f.Preflight != "":
		return &kapi.PreflightError{Operation: operation, Reason: f.Preflight}
	case len(f.Fields) > 0 && len(f.Fields) == len(f.Reasons):
		e := &kapi.ArgumentsError{Operation: operation}
		for i, field := range f.Fields {
			e.Fields = append(e.Fields, kapi.FieldError{Field: field, Reason: f.Reasons[i]})
		}
		return e
	case f.Unknown:
		return kapi.ErrUnknown
	case f.Fault != "":
		return errors.New(f.Fault)
	}
	return &kapi.InvalidError{Reason: f.Invalid}
}
