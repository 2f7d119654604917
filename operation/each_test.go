package operation_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
)

// numbers is the sequence from 1 to n.
func numbers(n int) func(context.Context, *int) iter.Seq2[int, error] {
	return func(_ context.Context, last *int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			first := 1
			if last != nil {
				first = *last + 1
			}
			for i := first; i <= n && yield(i, nil); i++ {
			}
		}
	}
}

// recorded returns a handle, and the values that are saved in it.
func recorded(d disk) (kapi.OperationHandle, *[]string) {
	var all []string
	return operation.Wrap(&handle{disk: d, saved: func(_, value string) { all = append(all, value) }}), &all
}

// The options say when the key is stored.
func TestEachStores(t *testing.T) {
	for what, c := range map[string]struct {
		options operation.EachOptions
		items   int
		want    string
	}{
		"each":             {operation.EachOptions{}, 3, `{"last":1} {"last":2} {"last":3} {"done":true}`},
		"none":             {operation.EachOptions{}, 0, `{"done":true}`},
		"each third":       {operation.EachOptions{EveryItems: 3}, 7, `{"last":3} {"last":6} {"done":true}`},
		"each second":      {operation.EachOptions{Every: time.Second}, 35, `{"last":10} {"last":20} {"last":30} {"done":true}`},
		"fourth or second": {operation.EachOptions{Every: time.Second, EveryItems: 4}, 9, `{"last":4} {"last":8} {"done":true}`},
		"second or 15th":   {operation.EachOptions{Every: time.Second, EveryItems: 15}, 25, `{"last":10} {"last":20} {"done":true}`},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, saved := recorded(disk{})
			err := operation.Each(t.Context(), h, "e", numbers(c.items), func(context.Context, int) error {
				time.Sleep(101 * time.Millisecond)
				return nil
			}, c.options)
			if got := strings.Join(*saved, " "); got != c.want || err != nil {
				t.Errorf("%s: stored %s, %v\nwant %s", what, got, err, c.want)
			}
		})
	}
}

// What was done is stored when it ends before its time, and the next run goes on after it.
func TestEachEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for what, c := range map[string]struct {
		do   func(context.Context, int) error
		want error
		last string
	}{
		"an error": {func(_ context.Context, i int) error {
			if i == 4 {
				return io.EOF
			}
			return nil
		}, io.EOF, `{"last":3}`},
		"the end of ctx": {func(_ context.Context, i int) error {
			if i == 5 {
				cancel()
			}
			return nil
		}, context.Canceled, `{"last":5}`},
		"a panic": {func(_ context.Context, i int) error {
			if i == 3 {
				panic("no")
			}
			return nil
		}, errPanicked, `{"last":2}`},
	} {
		d := disk{}
		h, _ := recorded(d)
		err := func() (err error) {
			defer func() {
				if recover() == "no" {
					err = errPanicked
				}
			}()
			ctx := ctx
			if c.want != context.Canceled {
				ctx = t.Context()
			}
			return operation.Each(ctx, h, "e", numbers(9), c.do, operation.EachOptions{Every: time.Hour})
		}()
		if !errors.Is(err, c.want) || d["kapi:each:e"] != c.last || errors.Is(err, kapi.ErrPermanent) {
			t.Errorf("after %s: %v, stored is %s, want %s", what, err, d["kapi:each:e"], c.last)
		}
		var again []int
		h, _ = recorded(d)
		note := func(_ context.Context, i int) error { again = append(again, i); return nil }
		if err := operation.Each(t.Context(), h, "e", numbers(9), note, operation.EachOptions{}); err != nil || again[len(again)-1] != 9 {
			t.Errorf("after %s the next run worked on %d, %v", what, again, err)
		}
		h, _ = recorded(d)
		if err := operation.Each(t.Context(), h, "e", func(context.Context, *int) iter.Seq2[int, error] { panic("done") }, note, operation.EachOptions{}); err != nil {
			t.Error(err)
		}
	}
}

var errPanicked = errors.New("panicked")

// A sequence that ends because ctx has ended is not complete, even if it says nothing of it.
func TestEachIsNotDoneWhenContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d := disk{}
	h, _ := recorded(d)
	err := operation.Each(ctx, h, "e", func(context.Context, *int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			yield(1, nil)
			cancel()
		}
	}, func(context.Context, int) error { return nil }, operation.EachOptions{EveryItems: 100})
	if want := `{"last":1}`; !errors.Is(err, context.Canceled) || d["kapi:each:e"] != want {
		t.Errorf("%v, stored is %s, want %s", err, d["kapi:each:e"], want)
	}
}

// A sequence may use the memory of a key again for the next one.
func TestEachKeysShareMemory(t *testing.T) {
	type row struct{ ID []byte }
	d := disk{}
	h, _ := recorded(d)
	err := operation.Each(t.Context(), h, "e", func(context.Context, *row) iter.Seq2[row, error] {
		return func(yield func(row, error) bool) {
			r := row{[]byte("a")}
			for ; yield(r, nil); r.ID[0]++ {
			}
		}
	}, func(_ context.Context, r row) error {
		if string(r.ID) == "c" {
			return io.EOF
		}
		return nil
	}, operation.EachOptions{EveryItems: 100})
	if want := `{"last":{"ID":"Yg=="}}`; !errors.Is(err, io.EOF) || d["kapi:each:e"] != want { // b
		t.Errorf("%v, stored is %s, want %s", err, d["kapi:each:e"], want)
	}
}

// An error that storing the key returns is not hidden by what ended the Each.
func TestEachReturnsStaleFence(t *testing.T) {
	lost := &handle{disk: disk{}}
	err := operation.Each(t.Context(), operation.Wrap(lost), "e", numbers(9), func(_ context.Context, i int) error {
		if i == 2 {
			lost.lost = true
			return io.EOF
		}
		return nil
	}, operation.EachOptions{EveryItems: 100})
	if !errors.Is(err, io.EOF) || !errors.Is(err, kapi.ErrStaleFence) || errors.Is(err, kapi.ErrPermanent) || !strings.HasPrefix(err.Error(), `each "e": `) {
		t.Errorf("got %v", err)
	}
}

type hidden struct{ id int }

func one[C any](key C) func(context.Context, *C) iter.Seq2[C, error] {
	return func(context.Context, *C) iter.Seq2[C, error] {
		return func(yield func(C, error) bool) { yield(key, nil) }
	}
}

// Calls that can't be right name the Each, and are not tried again.
func TestEachRefuses(t *testing.T) {
	var ran []any
	h := func(at ...string) kapi.OperationHandle {
		d := disk{}
		if len(at) > 0 {
			d["kapi:each:e"] = at[0]
		}
		return wrapped(d)
	}
	note := func(_ context.Context, i int) error { ran = append(ran, i); return nil }
	used := h()
	if err := operation.Each(t.Context(), used, "e", numbers(0), note, operation.EachOptions{}); err != nil {
		t.Fatal(err)
	}
	none := operation.EachOptions{}
	for what, err := range map[string]error{
		"nil":         operation.Each(t.Context(), h(), "e", numbers(1), nil, none),
		"no sequence": operation.Each(t.Context(), h(), "e", nil, note, none),
		"a nil one":   operation.Each(t.Context(), h(), "e", func(context.Context, *int) iter.Seq2[int, error] { return nil }, note, none),
		"no name":     operation.Each(t.Context(), h(), "", numbers(1), note, none),
		"long name":   operation.Each(t.Context(), h(), strings.Repeat("x", 91), numbers(1), note, none),
		"negative":    operation.Each(t.Context(), h(), "e", numbers(1), note, operation.EachOptions{Every: -1}),
		"used":        operation.Each(t.Context(), used, "e", numbers(1), note, none),
		"other type":  operation.Each(t.Context(), h(`{"last":"x"}`), "e", numbers(1), note, none),
		"empty":       operation.Each(t.Context(), h(`{}`), "e", numbers(1), note, none),
		"no fields":   operation.Each(t.Context(), h(), "e", one(hidden{1}), func(_ context.Context, k hidden) error { ran = append(ran, k); return nil }, none),
		"a channel":   operation.Each(t.Context(), h(), "e", one(make(chan int)), func(_ context.Context, k chan int) error { ran = append(ran, k); return nil }, none),
		"any number":  operation.Each(t.Context(), h(), "e", one(any(int64(1<<53+1))), func(context.Context, any) error { return nil }, none),
		"NaN":         operation.Each(t.Context(), h(), "e", one(math.NaN()), func(context.Context, float64) error { return nil }, none),
		"infinite":    operation.Each(t.Context(), h(), "e", one(math.Inf(1)), func(context.Context, float64) error { return nil }, none),
		"300 KiB":     operation.Each(t.Context(), h(), "e", one(strings.Repeat("x", 300<<10)), func(context.Context, string) error { return nil }, none),
	} {
		if !errors.Is(err, kapi.ErrPermanent) || !strings.HasPrefix(err.Error(), "each \"") || len(err.Error()) > 400 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(ran) > 0 {
		t.Errorf("worked on %v", ran)
	}
	failing := func(context.Context, *int) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) { _ = yield(1, nil) && yield(2, io.EOF) && yield(3, nil) }
	}
	if err := operation.Each(t.Context(), h(), "e", failing, note, none); !errors.Is(err, io.EOF) || !slices.Equal(ran, []any{1}) {
		t.Errorf("a sequence with an error: %v, worked on %v", err, ran)
	}
}
