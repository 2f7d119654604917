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

// Step calls fn once, and stores what it returns under the name. In later runs of the action, and of those that continue
// it, Step returns the stored result, and doesn't call fn. Of an fn that returned an error, or panicked, or whose process
// died before the result was stored, nothing is stored, and the next run calls it again: an effect of fn on the outside
// can happen twice. So that outside systems can recognise repetition, id is the same every time: 32 lower-case hexadecimal
// digits, made from the first action's id (OperationHandle.Origin) and the name.
//
// The name has 1 to 90 characters and no control characters. It is an error to use one twice in one run, whether the first
// step succeeded or not; to try something again within a run, put the loop into fn. Steps with different names may run
// concurrently, and within each other. Before it calls fn, Step calls Proceed.
//
// The result is stored as JSON in at most 256 KiB, and Step returns what it reads from that, so that all runs see the same.
// An error that is not fn's names what went wrong, and is permanent where trying again can't help: if the result is no
// JSON (NaN, for example), can't be read back, or is too large, though the work of fn is done by then; or if what is
// stored, perhaps by an earlier version of the program, doesn't fit T: unknown fields count. All errors name the step, and
// wrap what they are about: that of ctx, of fn, of Proceed, kapi.ErrStaleFence.
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
