package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// BenchmarkProceed asks whether a resumable operation may proceed, while its lease is fresh.
func BenchmarkProceed(b *testing.B) {
	within(b, func(ctx context.Context, h kapi.OperationHandle) {
		for b.Loop() {
			if err := h.Proceed(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkCheckpoint saves checkpoints of 100 bytes, by one and by 64 goroutines of an operation.
func BenchmarkCheckpoint(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			within(b, func(_ context.Context, h kapi.OperationHandle) {
				n := 0
				for b.Loop() {
					n++
					saveAll(b, h, callers, fmt.Sprintf("%0100d", n))
				}
				b.ReportMetric(float64(b.N*callers)/b.Elapsed().Seconds(), "checkpoints/s")
			})
		})
	}
}

func saveAll(b *testing.B, h kapi.OperationHandle, callers int, text string) {
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			if err := h.Save(fmt.Sprint(i), text); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
}

// within runs f inside a resumable operation, on a real file.
func within(b *testing.B, f func(context.Context, kapi.OperationHandle)) {
	s, err := sqlite.Open(filepath.Join(b.TempDir(), "kapi.db"))
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	d := kapi.Definition{
		Name: "bench", Title: title, Resume: &kapi.Resume{},
		Run: func(ctx context.Context, h kapi.OperationHandle, _ json.RawMessage) error {
			defer close(done)
			f(ctx, h)
			return nil
		},
	}
	p, err := peer.Open(context.Background(), s, peer.Options{Operations: []kapi.Definition{d}})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := p.StartOperation(context.Background(), "bench", nil, kapi.StartOptions{}); err != nil {
		b.Fatal(err)
	}
	<-done
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
}
