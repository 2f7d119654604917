// Package fault keeps a panic in one goroutine from ending the whole process. kapi run needs that: if it
// died, nobody would read its command's output, restore the modes of the terminal or enforce the time
// limit.
//
// A [Net] is made once, by code that knows how to report a panic, and starts the goroutines from then on
// ([Net.Go]). Code deep inside a library finds the net in the context that it was given ([With],
// [From]). Without a net a panic ends the process, as usual in Go.
//
// Fatal errors of the runtime can't be caught: concurrent writes to a map, stack overflow, out of memory,
// a thread that can't be created.
package fault

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/kettubot/kapi/internal/backoff"
)

// A Panic is a recovered panic. It is an error, so that an operation can fail with it.
type Panic struct {
	// Value is the argument of panic.
	Value any
	// Stack is the goroutine's stack trace, as returned by debug.Stack.
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// A Net catches panics. Its methods may be called concurrently. A nil Net catches none.
type Net struct{ onPanic func(*Panic) }

// NewNet returns a Net that calls onPanic with each panic, in the goroutine that panicked. That goroutine
// may hold locks, so onPanic must not wait for anything.
func NewNet(onPanic func(*Panic)) *Net { return &Net{onPanic} }

// Try calls f. If f panics, the panic is handed to onPanic and returned.
func (n *Net) Try(f func()) (caught *Panic) {
	if n == nil {
		f()
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			caught = &Panic{v, debug.Stack()}
			n.onPanic(caught)
		}
	}()
	f()
	return nil
}

const (
	// firstPause and lastPause limit the pauses before a loop that keeps panicking is called again.
	firstPause = 10 * time.Millisecond
	lastPause  = time.Second
)

// Keep calls loop until it returns. If loop panics, it is called again: the item that it panicked on is
// lost, and it continues with the next. So loop must be able to start over, and anything to be done once,
// such as closing a channel at the end, belongs outside.
func (n *Net) Keep(loop func()) {
	for pauses := backoff.New(firstPause, lastPause); n.Try(loop) != nil; {
		time.Sleep(pauses.Next())
	}
}

// Go runs Keep(loop) in a goroutine of group.
func (n *Net) Go(group *sync.WaitGroup, loop func()) {
	group.Go(func() { n.Keep(loop) })
}

type key struct{}

// With returns a context that carries n. Code that gets the context starts its goroutines with n.
func With(ctx context.Context, n *Net) context.Context { return context.WithValue(ctx, key{}, n) }

// From returns the net of ctx, or nil, which catches nothing.
func From(ctx context.Context) *Net {
	n, _ := ctx.Value(key{}).(*Net)
	return n
}
