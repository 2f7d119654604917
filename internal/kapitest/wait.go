package kapitest

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"
)

// Patience is the timeout of everything that tests wait for. It is generous, as no test measures speed.
const Patience = 2 * time.Minute

// Eventually polls a condition until it holds, and fails the test if it doesn't within Patience. The
// failure message includes the results of states.
func Eventually(t testing.TB, what string, holds func() bool, states ...func() string) {
	t.Helper()
	for end := time.Now().Add(Patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v, this does not hold: %s%s", Patience, what, describe(states))
		}
	}
}

// Within returns a context that ends after Patience, or with the test.
func Within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Receive waits for a value from c, and fails the test if none arrives within Patience. The failure
// message includes the results of states. A closed channel gives a zero value.
func Receive[T any](t testing.TB, c <-chan T, what string, states ...func() string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(Patience):
		t.Fatalf("waited %v for %s%s", Patience, what, describe(states))
	}
	return v
}

func describe(states []func() string) (text string) {
	for _, state := range states {
		text += "\n" + state()
	}
	return text
}

// An Output collects what is written, and may be read while it is written.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String returns what was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
