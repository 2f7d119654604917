// Package fault keeps a panic in one goroutine from ending the whole process. kapi run has reason
// to want that: a process that dies takes the reader of its command's output away, leaves the
// terminal in the modes of that moment, and keeps no time limit any more.
//
// A [Net] is made once, by whoever knows how a panic is to be reported, and starts the goroutines
// from there on ([Net.Go]). Those that are started deep inside a library, which need not know
// about it, find the net in the context that they were opened with ([With], [From]). Without a net
// a panic ends the process, as everywhere in Go.
//
// What the runtime ends the process for can't be caught: concurrent writes to a map, a stack or a
// heap that is used up, a thread that can't be made.
package fault

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/kettubot/kapi/internal/backoff"
)

// A Panic is what a goroutine panicked with. It is an error, so that it can be what an operation
// fails with.
type Panic struct {
	// Value is what was given to panic.
	Value any
	// Stack is that of the goroutine, as debug.Stack has it.
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// A Net catches panics. Its methods may be called concurrently. A nil Net catches none.
type Net struct{ onPanic func(*Panic) }

// NewNet returns a Net that calls onPanic with each panic, in the goroutine that panicked, which may
// hold locks then: onPanic must not wait for anything.
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
	// firstPause and lastPause are how long a loop that panics again and again is left alone.
	firstPause = 10 * time.Millisecond
	lastPause  = time.Second
)

// Keep calls loop until it returns. If it panics it is called again: what it panicked over is
// lost, and it goes on with what comes next. So loop must be fit to be entered anew, and what is
// to be done once, such as closing a channel behind it, belongs outside.
func (n *Net) Keep(loop func()) {
	for pauses := backoff.New(firstPause, lastPause); n.Try(loop) != nil; {
		time.Sleep(pauses.Next())
	}
}

// Go starts loop, as Keep calls it, in a goroutine that belongs to group.
func (n *Net) Go(group *sync.WaitGroup, loop func()) {
	group.Go(func() { n.Keep(loop) })
}

type key struct{}

// With returns a context whose goroutines are to be started by the net.
func With(ctx context.Context, n *Net) context.Context { return context.WithValue(ctx, key{}, n) }

// From returns the context's net, or nil.
func From(ctx context.Context) *Net {
	n, _ := ctx.Value(key{}).(*Net)
	return n
}
