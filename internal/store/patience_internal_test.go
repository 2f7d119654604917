package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPatience: each move starts the time over; apart from that, the context is like one with a timeout.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := WithPatience(t.Context(), time.Second)
		defer cancel(nil)
		child, cancelChild := context.WithCancel(ctx)
		defer cancelChild()
		for range 10 {
			time.Sleep(900 * time.Millisecond)
			Moved(child)
		}
		synctest.Wait()
		if ctx.Err() != nil || child.Err() != nil {
			t.Fatalf("the context ended although others moved: %v, %v", ctx.Err(), child.Err())
		}
		if end, ok := ctx.Deadline(); !ok || time.Until(end) != time.Second {
			t.Errorf("the deadline is %v away (%v), want a second", time.Until(end), ok)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for name, c := range map[string]context.Context{"the context": ctx, "its child": child} {
			select {
			case <-c.Done():
			default:
				t.Errorf("nothing moved for a second, and %s has not ended", name)
			}
			if err, cause := c.Err(), context.Cause(c); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(cause, context.DeadlineExceeded) {
				t.Errorf("%s ends with %v (cause %v), want %v", name, err, cause, context.DeadlineExceeded)
			}
		}
		Moved(child)
		time.Sleep(time.Second)
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("after a move that was too late, the error is %v", ctx.Err())
		}
	})
}

// TestPatienceEnds: the context ends with its parent, at its parent's deadline, and when it is cancelled.
func TestPatienceEnds(t *testing.T) {
	why := errors.New("why")
	synctest.Test(t, func(t *testing.T) {
		parent, cancelParent := context.WithCancelCause(t.Context())
		timed, cancelTimed := context.WithTimeout(t.Context(), time.Second)
		defer cancelTimed()
		byParent, cancel1 := WithPatience(parent, time.Hour)
		defer cancel1(nil)
		byDeadline, cancel2 := WithPatience(timed, time.Hour)
		defer cancel2(nil)
		cancelled, cancel3 := WithPatience(t.Context(), time.Hour)
		if end, ok := byDeadline.Deadline(); !ok || time.Until(end) != time.Second {
			t.Errorf("the deadline is %v away (%v), want the parent's second", time.Until(end), ok)
		}
		cancelParent(why)
		cancel3(why)
		time.Sleep(time.Second)
		Moved(byDeadline)
		synctest.Wait()
		for name, c := range map[string]struct {
			ctx        context.Context
			err, cause error
		}{
			"by its parent":   {byParent, context.Canceled, why},
			"by its deadline": {byDeadline, context.DeadlineExceeded, context.DeadlineExceeded},
			"cancelled":       {cancelled, context.Canceled, why},
		} {
			child, cancel := context.WithCancel(c.ctx)
			defer cancel()
			for _, ctx := range []context.Context{c.ctx, child} {
				<-ctx.Done()
				if err, cause := ctx.Err(), context.Cause(ctx); !errors.Is(err, c.err) || !errors.Is(cause, c.cause) {
					t.Errorf("%s: it ends with %v (cause %v), want %v (%v)", name, err, cause, c.err, c.cause)
				}
			}
		}
	})
}

// TestMovedWithoutPatience: a store may call Moved with a context that has no patience.
func TestMovedWithoutPatience(t *testing.T) { Moved(t.Context()) }
