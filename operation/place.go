package operation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/kettubot/kapi"
)

// A place is the checkpoint in which Step or Each stores what it needs.
type place struct {
	handle kapi.OperationHandle // the one that was wrapped
	name   string
}

// load reads the record of Step or Each. It is false if there is none.
func (p place) load(record any) (bool, error) {
	found, err := p.handle.Load(p.name, record)
	if err != nil {
		return false, fmt.Errorf("what it stored can't be read: %w", err)
	}
	return found, nil
}

// save stores the record. What is refused for what it is, by its size for example, would be refused every time.
func (p place) save(record any) error {
	err := p.handle.Save(p.name, record)
	var invalid *kapi.InvalidError
	if errors.As(err, &invalid) {
		return Permanent(err)
	}
	return err
}

// encode returns v as JSON, and what will be read from that.
func encode[T any](v T) (text json.RawMessage, read T, err error) {
	if text, err = json.Marshal(v); err != nil {
		return nil, read, Permanent(err)
	}
	read, err = stored[T](text)
	return text, read, err
}

// stored returns the value that was stored as text. It is an error if the value doesn't fit T exactly.
func stored[T any](text json.RawMessage) (v T, err error) {
	var zero T
	if err := decodeStrictly(text, &v); err != nil {
		return zero, Permanent(fmt.Errorf("what is stored doesn't fit %v: %w", reflect.TypeFor[T](), err))
	}
	// Decoding null changes nothing, whatever the type.
	if null := []byte("null"); bytes.Equal(text, null) {
		if own, err := json.Marshal(zero); err != nil || !bytes.Equal(own, null) {
			return zero, Permanent(fmt.Errorf("what is stored, null, doesn't fit %v", reflect.TypeFor[T]()))
		}
	}
	return v, nil
}
