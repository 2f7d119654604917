package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/kettubot/kapi"
)

// BenchmarkUpdates measures how many progress reports a second reach the store, from operations that
// each have new progress 20 times a second, ten of which are published.
func BenchmarkUpdates(b *testing.B) {
	for _, actions := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("actions=%d", actions), func(b *testing.B) {
			onEachStore(b, func(b *testing.B, at string) {
				peer := openPeer(b, at)
				stop, cancel := context.WithCancel(context.Background())
				b.Cleanup(cancel) // before the peer is closed
				for range actions {
					if _, err := peer.Start(stop, kapi.Spec{Title: title}, func(ctx context.Context, h kapi.Handle) error {
						report(ctx, stop, h)
						return nil
					}); err != nil {
						b.Fatal(err)
					}
				}
				for b.Loop() {
					const watched = 5 * time.Second
					seq, spent := seqOf(b, peer), cpu(b, os.Getpid())
					time.Sleep(watched)
					spent = cpu(b, os.Getpid()) - spent
					b.ReportMetric(float64(seqOf(b, peer)-seq)/watched.Seconds(), "updates/s")
					b.ReportMetric(100*spent.Seconds()/watched.Seconds(), "%-of-a-core-peer")
				}
				b.ReportMetric(0, "ns/op")
			})
		})
	}
}

// report makes progress until stop or ctx ends.
func report(ctx, stop context.Context, h kapi.Handle) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for p := 0.0; ; p += 1e-6 {
		h.SetProgress(p)
		select {
		case <-tick.C:
		case <-stop.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}
