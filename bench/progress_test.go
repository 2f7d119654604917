package bench

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// BenchmarkProgress reports from a tight loop, on a real file to which the engine publishes meanwhile.
func BenchmarkProgress(b *testing.B) {
	b.Run("same", func(b *testing.B) {
		operate(b, func(h kapi.Handle) {
			for b.Loop() {
				h.SetProgress(0.5)
			}
		})
	})
	b.Run("growing", func(b *testing.B) {
		operate(b, func(h kapi.Handle) {
			p := 0.0
			for b.Loop() {
				p += 1e-10 // stays below 1 for longer than any run lasts
				h.SetProgress(p)
			}
		})
	})
	b.Run("growing by two goroutines", func(b *testing.B) {
		operate(b, func(h kapi.Handle) {
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for p := 0.0; pb.Next(); p += 1e-10 {
					h.SetProgress(p)
				}
			})
		})
	})
	b.Run("state, the same", func(b *testing.B) {
		operate(b, func(h kapi.Handle) {
			for b.Loop() {
				h.SetState(state)
			}
		})
	})
}

// operate runs f inside an operation.
func operate(b *testing.B, f func(kapi.Handle)) {
	b.ReportAllocs()
	s, err := sqlite.Open(filepath.Join(b.TempDir(), "kapi.db"))
	if err != nil {
		b.Fatal(err)
	}
	peer, err := peer.Open(context.Background(), s, peer.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer peer.Close()
	err = peer.Do(context.Background(), kapi.Spec{Title: title}, func(_ context.Context, h kapi.Handle) error {
		f(h)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
