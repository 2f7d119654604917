package operation_test

import (
	"context"
	"errors"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
)

// An allowing handle answers Proceed without a look at the context, with err.
type allowing struct {
	*handle
	err     error
	proceed int
}

func (a *allowing) Proceed(context.Context) error {
	a.proceed++
	return a.err
}

// Proceed is called before each step and each item, none of which begins if it returns an error. No item begins after the
// end of ctx either, whatever Proceed says.
func TestNothingBeginsUnlessAllowed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, c := range []struct {
		allows     error
		ends       bool // whether the first item ends ctx
		want       error
		calls, ran int // calls of Proceed, and what they let begin
	}{
		{nil, false, nil, 5, 5},
		{kapi.ErrStaleFence, false, kapi.ErrStaleFence, 2, 0},
		{nil, true, context.Canceled, 2, 2},
	} {
		ran := 0
		h := &allowing{handle: &handle{disk: disk{}}, err: c.allows}
		_, err := operation.Step(ctx, operation.Wrap(h), "s", func(context.Context, string) (int, error) { ran++; return 0, nil })
		if !errors.Is(err, c.allows) {
			t.Errorf("%+v: Step returned %v", c, err)
		}
		err = operation.Each(ctx, operation.Wrap(h), "e", numbers(4), func(context.Context, int) error {
			if ran++; c.ends {
				cancel()
			}
			return nil
		}, operation.EachOptions{})
		if !errors.Is(err, c.want) || h.proceed != c.calls || ran != c.ran {
			t.Errorf("%+v: Each returned %v after %d calls of Proceed; %d ran", c, err, h.proceed, ran)
		}
	}
}
