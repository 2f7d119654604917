package postgres

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestGate: after a failed attempt there is no other before the pause is over, and then only one.
// The pauses grow up to a limit.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		if err := g.pass(); err != nil {
			t.Fatalf("before any attempt: %v", err)
		}
		for pause := firstPause; pause < 3*lastPause; pause *= 2 {
			g.note(io.EOF)
			if err := g.pass(); !errors.Is(err, io.EOF) {
				t.Fatalf("right after an attempt that failed: %v", err)
			}
			began := time.Now()
			for g.pass() != nil {
				time.Sleep(time.Millisecond)
			}
			want := min(pause, lastPause)
			if took := time.Since(began); took < want/2 || took > want*3/2+time.Millisecond {
				t.Errorf("the next attempt was let through after %v, want about %v", took, want)
			}
			if err := g.pass(); err == nil {
				t.Error("two attempts were let through")
			}
		}
		g.note(nil)
		for range 3 {
			if err := g.pass(); err != nil {
				t.Errorf("after one that succeeded: %v", err)
			}
		}
	})
}

// An error that doesn't go away on its own doesn't stop other attempts: it may concern only one connection.
func TestGateStaysOpen(t *testing.T) {
	var g gate
	g.note(&pgconn.PgError{Code: "28P01"})
	if err := g.pass(); err != nil {
		t.Errorf("after a wrong password: %v", err)
	}
}
