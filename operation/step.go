package operation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/kettubot/kapi"
)

// A stepRecord is what Step stores.
type stepRecord struct {
	Result json.RawMessage `json:"result"`
}

// Step calls fn, and stores what it returns under the name. Later runs of the action, and of those that continue it, get
// the stored result, and fn is not called again. If fn returns an error or panics, or the process dies before the result
// is stored, nothing is stored, and the next run calls fn again: what fn does outside of the process can happen twice. So
// that outside systems can recognise repetition, id is the same every time: 32 lower-case hexadecimal digits, made from
// the name and the id of the first action (OperationHandle.Origin).
//
// The name has 1 to 90 characters and no control characters. It is an error to use a name twice in one run, whether or
// not the first step succeeded: to try something again within a run, put the loop into fn. Steps with different names
// may run concurrently, and within each other. Step calls Proceed before it calls fn.
//
// The result is stored as JSON in at most 256 KiB. Step returns what it reads back from that, so that all runs see the
// same. A result that can't be stored is an error, although the work is done: one that is too large, that has no JSON
// (NaN, for example), or that can't be read back. So is a stored result that doesn't fit T; unknown fields count. These
// errors are permanent, as are those about the name. All errors name the step, and wrap what went wrong: the error of fn,
// of ctx, of Proceed, or of storing (kapi.ErrStaleFence, for example).
func Step[T any](ctx context.Context, h kapi.OperationHandle, name string, fn func(ctx context.Context, id string) (T, error)) (T, error) {
	result, err := step(ctx, h, name, fn)
	if err != nil {
		var none T
		return none, fmt.Errorf("step %.100q: %w", name, err)
	}
	return result, nil
}

func step[T any](ctx context.Context, h kapi.OperationHandle, name string, fn func(ctx context.Context, id string) (T, error)) (result T, err error) {
	if fn == nil {
		return result, wrong("function", "is nil")
	}
	at, err := take(ctx, h, stepNames, name)
	if err != nil {
		return result, err
	}
	var record stepRecord
	if found, err := at.load(&record); err != nil {
		return result, err
	} else if found {
		return stored[T](record.Result)
	}
	if err := at.handle.Proceed(ctx); err != nil {
		return result, err
	}
	if result, err = fn(ctx, stepID(h.Origin(), name)); err != nil {
		return result, err
	}
	record.Result, result, err = encode(result)
	if err == nil {
		err = at.save(record)
	}
	if err != nil {
		return result, fmt.Errorf("its work is done, but its result could not be stored: %w", err)
	}
	return result, nil
}

// stepID makes the id of a step. It must never be another one for the same step: other systems have noted it.
func stepID(origin, name string) string {
	sum := sha256.Sum256([]byte("kapi step\x00" + origin + "\x00" + name))
	return hex.EncodeToString(sum[:16])
}
