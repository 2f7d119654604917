package peer

import (
	"testing"
	"testing/synctest"
	"time"
)

// A wake-up is left to the peer's own transactions while there are any, but not for long.
func TestWakeUpsAreLeftToTransactions(t *testing.T) {
	for _, c := range []struct {
		name  string
		play  func(*testing.T, *flight)
		reads bool
		after time.Duration
	}{
		{"no transaction", func(*testing.T, *flight) {}, false, 0},
		{"one was over long ago", func(t *testing.T, f *flight) {
			land := f.board(t.Context(), func(error) {}, &batch{})
			land()
			time.Sleep(leaveToNext)
		}, false, 0},
		{"one reads", func(t *testing.T, f *flight) {
			f.board(t.Context(), func(error) {}, &batch{})
			time.AfterFunc(time.Millisecond, func() { f.hasRead(time.Now()) })
		}, true, time.Millisecond},
		{"one has read already", func(t *testing.T, f *flight) {
			f.board(t.Context(), func(error) {}, &batch{})
			f.hasRead(time.Now())
		}, false, leaveToFlight},
		{"one reads, but from before the wake-up", func(t *testing.T, f *flight) {
			f.board(t.Context(), func(error) {}, &batch{})
			before := time.Now()
			time.AfterFunc(time.Millisecond, func() { f.hasRead(before) })
			time.AfterFunc(2*time.Millisecond, func() { f.hasRead(time.Now()) })
		}, true, 2 * time.Millisecond},
		{"one hangs", func(t *testing.T, f *flight) { f.board(t.Context(), func(error) {}, &batch{}) }, false, leaveToFlight},
		{"one has just ended, and the next reads", func(t *testing.T, f *flight) {
			land := f.board(t.Context(), func(error) {}, &batch{})
			land()
			time.AfterFunc(time.Millisecond, func() {
				f.board(t.Context(), func(error) {}, &batch{})
				f.hasRead(time.Now())
			})
		}, true, time.Millisecond},
		{"one has just ended, and there is no next", func(t *testing.T, f *flight) {
			land := f.board(t.Context(), func(error) {}, &batch{})
			land()
		}, false, leaveToNext},
		{"one has just ended, and the next hangs", func(t *testing.T, f *flight) {
			land := f.board(t.Context(), func(error) {}, &batch{})
			land()
			time.AfterFunc(leaveToNext/2, func() { f.board(t.Context(), func(error) {}, &batch{}) })
		}, false, leaveToFlight},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFlight()
				c.play(t, &f)
				began := time.Now()
				if reads := f.reads(t.Context()); reads != c.reads {
					t.Errorf("left to a transaction: %v, want %v", reads, c.reads)
				}
				if took := time.Since(began); took != c.after {
					t.Errorf("after %v, want %v", took, c.after)
				}
			})
		})
	}
}
