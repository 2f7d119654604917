package postgres

import (
	"context"
	"testing"
	"time"
)

// deadline bounds everything that the tests wait for. It is generous: none measures how fast the
// store is.
const deadline = 30 * time.Second

// within returns a context that ends at the deadline.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// openAt opens a store that its user closes.
func openAt(t testing.TB, dsn string, o Options) *Store {
	t.Helper()
	s, err := Open(within(t), dsn, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}
