package operation_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
)

// wrapped returns a handle for a run of an action, as Define gives it to Run.
func wrapped(d disk) kapi.OperationHandle {
	return operation.Wrap(&handle{disk: d, origin: "origin"})
}

// A step whose result is stored is not run again, and returns the same; its id is the same in each run.
func TestStepRunsOnce(t *testing.T) {
	type result struct {
		At   *int           `json:"at"`
		More map[string]any `json:"more"`
	}
	d, calls := disk{}, 0
	for range 3 {
		got, err := operation.Step(t.Context(), wrapped(d), "build", func(_ context.Context, id string) (result, error) {
			calls++
			// Other systems have noted such ids: a new version of kapi must make the same ones.
			if want := "18d0832433211b1ae7ade91301602bf7"; id != want {
				t.Errorf("the id is %s, want %s", id, want)
			}
			return result{new(7), map[string]any{"n": 1}}, nil
		})
		if err != nil || *got.At != 7 || got.More["n"] != 1.0 { // as JSON has it, also in the first run
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if calls != 1 {
		t.Errorf("it ran %d times", calls)
	}
	ids := map[string]bool{}
	for _, at := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"a", "b"}, {"b", "a"}} {
		h := operation.Wrap(&handle{disk: disk{}, origin: at[0]})
		id, err := operation.Step(t.Context(), h, at[1], func(_ context.Context, id string) (string, error) { return id, nil })
		if ids[id] || len(id) != 32 || err != nil {
			t.Errorf("step %s of %s has the id %q, %v", at[1], at[0], id, err)
		}
		ids[id] = true
	}
}

// One that fails stores nothing, and runs again in the next run.
func TestStepFails(t *testing.T) {
	d := disk{}
	got, err := operation.Step(t.Context(), wrapped(d), "s", func(context.Context, string) (int, error) { return 7, io.EOF })
	if got != 0 || !errors.Is(err, io.EOF) || errors.Is(err, kapi.ErrPermanent) || !strings.Contains(err.Error(), `step "s"`) {
		t.Errorf("got %d, %v", got, err)
	}
	func() {
		defer func() {
			if p := recover(); p != "no" {
				t.Errorf("recovered %v", p)
			}
		}()
		_, err := operation.Step(t.Context(), wrapped(d), "s", func(context.Context, string) (int, error) { panic("no") })
		t.Errorf("returned %v", err)
	}()
	if got, err := operation.Step(t.Context(), wrapped(d), "s", func(context.Context, string) (int, error) { return 8, nil }); got != 8 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
}

// A name has one use in a run, also if the first one failed, or both are at once.
func TestStepNamesAreUsedOnce(t *testing.T) {
	h := wrapped(disk{})
	var ran, refused atomic.Int32
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			_, err := operation.Step(t.Context(), h, string(rune('a'+i/2)), func(context.Context, string) (bool, error) {
				ran.Add(1)
				return true, nil
			})
			if err != nil && errors.Is(err, kapi.ErrPermanent) {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	if ran.Load() != 20 || refused.Load() != 20 {
		t.Errorf("%d ran, %d were refused", ran.Load(), refused.Load())
	}
	failing := func(context.Context, string) (int, error) { return 0, io.EOF }
	for _, want := range []error{io.EOF, kapi.ErrPermanent} {
		if _, err := operation.Step(t.Context(), h, "fails", failing); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	outer, err := operation.Step(t.Context(), h, "outer", func(ctx context.Context, _ string) (int, error) {
		return operation.Step(ctx, h, "inner", func(context.Context, string) (int, error) { return 5, nil })
	})
	if outer != 5 || err != nil {
		t.Errorf("a step in a step: %d, %v", outer, err)
	}
}

func second[T any](_ T, err error) error { return err }

// Calls that can't be right name the step, and are not tried again.
func TestStepRefuses(t *testing.T) {
	fine := func(context.Context, string) (int, error) { return 1, nil }
	ran := false
	note := func(context.Context, string) (int, error) { ran = true; return 1, nil }
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for what, err := range map[string]error{
		"nil":           second(operation.Step[int](t.Context(), wrapped(disk{}), "step", nil)),
		"no name":       second(operation.Step(t.Context(), wrapped(disk{}), "", note)),
		"91 characters": second(operation.Step(t.Context(), wrapped(disk{}), strings.Repeat("ä", 91), note)),
		"a line":        second(operation.Step(t.Context(), wrapped(disk{}), "step\n", note)),
		"not UTF-8":     second(operation.Step(t.Context(), wrapped(disk{}), "step\xff", note)),
		"not wrapped":   second(operation.Step(t.Context(), &handle{disk: disk{}}, "step", note)),
		"a text":        second(operation.Step(t.Context(), wrapped(disk{"kapi:step:step": `{"result":"7"}`}), "step", note)),
		"a new field":   second(operation.Step(t.Context(), wrapped(disk{"kapi:step:step": `{"result":{"A":1}}`}), "step", func(context.Context, string) (struct{ B int }, error) { ran = true; return struct{ B int }{}, nil })),
		"null":          second(operation.Step(t.Context(), wrapped(disk{"kapi:step:step": `{"result":null}`}), "step", note)),
		"no result":     second(operation.Step(t.Context(), wrapped(disk{"kapi:step:step": `{}`}), "step", note)),
		"a channel":     second(operation.Step(t.Context(), wrapped(disk{}), "step", func(context.Context, string) (chan int, error) { return make(chan int), nil })),
		"NaN":           second(operation.Step(t.Context(), wrapped(disk{}), "step", func(context.Context, string) (float64, error) { return math.NaN(), nil })),
		"no way back":   second(operation.Step(t.Context(), wrapped(disk{}), "step", func(context.Context, string) (io.Reader, error) { return strings.NewReader(""), nil })),
		"300 KiB":       second(operation.Step(t.Context(), wrapped(disk{}), "step", func(context.Context, string) (string, error) { return strings.Repeat("x", 300<<10), nil })),
	} {
		if !errors.Is(err, kapi.ErrPermanent) || !strings.HasPrefix(err.Error(), "step \"") || len(err.Error()) > 400 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := second(operation.Step(ended, wrapped(disk{}), "step", note)); !errors.Is(err, context.Canceled) || errors.Is(err, kapi.ErrPermanent) {
		t.Errorf("after the end of ctx: %v", err)
	}
	if err := second(operation.Step(ended, wrapped(disk{"kapi:step:step": `{"result":7}`}), "step", note)); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of ctx, with a stored result: %v", err)
	}
	if ran {
		t.Error("one that was refused at once ran")
	}
	if err := second(operation.Step(t.Context(), wrapped(disk{}), strings.Repeat("ä", 90), fine)); err != nil {
		t.Errorf("90 characters: %v", err)
	}
	null, err := operation.Step(t.Context(), wrapped(disk{"kapi:step:step": `{"result":null}`}), "step", func(context.Context, string) (*int, error) { return new(1), nil })
	if null != nil || err != nil {
		t.Errorf("the pointer that was nil is %v, %v", null, err)
	}
}

// Define gives Run a handle for Step, which keeps Step's names from the user's.
func TestDefinedRunHasSteps(t *testing.T) {
	d := disk{}
	calls := 0
	define := operation.Define(operation.Of[struct{}]{Name: "ok", Title: "t", Run: func(ctx context.Context, h kapi.OperationHandle, _ struct{}) error {
		one := func(context.Context, string) (int, error) { calls++; return 1, nil }
		_, err := operation.Step(ctx, h, "a", one)
		_, again := operation.Step(ctx, h, "a", one)
		_, loaded := h.Load("kapi:step:a", new(any))
		for _, err := range []error{again, h.Save("kapi:step:a", nil), loaded} {
			var invalid *kapi.InvalidError
			if !errors.As(err, &invalid) || !errors.Is(err, kapi.ErrPermanent) {
				t.Errorf("not refused: %v", err)
			}
		}
		if operation.Wrap(h) != h {
			t.Error("a handle is wrapped twice")
		}
		return errors.Join(err, h.Save("step:a", 2))
	}})
	for range 2 {
		if err := define.Run(t.Context(), &handle{disk: d}, json.RawMessage(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 1 || d["step:a"] != "2" || d["kapi:step:a"] != `{"result":1}` {
		t.Errorf("%d calls, and on disk are %v", calls, d)
	}
}

// A permanent error is still what it was.
func TestPermanent(t *testing.T) {
	err := operation.Permanent(&kapi.HeldError{Key: "k"})
	var held *kapi.HeldError
	if !errors.Is(err, kapi.ErrPermanent) || !errors.As(err, &held) || err.Error() != held.Error() {
		t.Errorf("%v", err)
	}
	if !errors.Is(errors.Join(io.EOF, err), kapi.ErrPermanent) || errors.Is(io.EOF, kapi.ErrPermanent) || errors.Is(err, io.EOF) {
		t.Error("permanent errors are not told from others")
	}
	if operation.Permanent(nil) != nil {
		t.Error("nil is an error")
	}
}
