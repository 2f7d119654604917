package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/store"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// pairs is how many rounds of the engine alternate with rounds of the bare loop. A disturbance of the
// machine then affects both, so the median of the ratios is stable even if the rates are not.
const pairs = 15

// BenchmarkLifecycles compares durable lifecycles per second: start acknowledged, one state change, end
// acknowledged, with a key per caller. One operation of the benchmark is a whole comparison.
//
// In "state" the change is Handle.SetState, which is written with the end; in "impacted" it is
// Handle.Impacted, which is acknowledged by itself. The bare loop writes as many rows as the engine did
// in the round before, which is known from the seq.
func BenchmarkLifecycles(b *testing.B) {
	for _, change := range []string{"state", "impacted"} {
		for _, callers := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("%s/callers=%d", change, callers), func(b *testing.B) {
				for b.Loop() {
					compare(b, callers, change == "impacted")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func compare(b *testing.B, callers int, acknowledged bool) {
	ctx := context.Background()
	s, err := sqlite.Open(filepath.Join(b.TempDir(), "engine.db"))
	if err != nil {
		b.Fatal(err)
	}
	counted := &counted{Store: s}
	peer, err := peer.Open(ctx, counted, peer.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer peer.Close()
	loop, err := openBare(filepath.Join(b.TempDir(), "bare.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer loop.Close()

	operation := func(_ context.Context, h kapi.Handle) error {
		if acknowledged {
			return h.Impacted(state)
		}
		h.SetState(state)
		return nil
	}
	perCaller := max(16, min(600, 12000/callers))
	rows := 0.0 // that the engine writes per lifecycle
	engine := func() float64 {
		before := seqOf(b, peer)
		rate := round(b, callers, perCaller, func(key string, _ int) error {
			return peer.Do(ctx, kapi.Spec{Title: title, Keys: []string{key}}, operation)
		})
		rows = float64(seqOf(b, peer)-before) / float64(callers*perCaller)
		return rate
	}
	bare := func() float64 {
		extra := rows - 2
		return round(b, callers, perCaller, func(key string, n int) error {
			// Spreads extra evenly: it is the share of lifecycles that write one more row.
			flushed := int(float64(n+1)*extra) > int(float64(n)*extra)
			return loop.lifecycle(key, acknowledged, flushed)
		})
	}
	engine() // warms up
	bare()
	counted.commits.Store(0)
	loop.commits.Store(0)
	engines, bares, ratios, written := make([]float64, pairs), make([]float64, pairs), make([]float64, pairs), make([]float64, pairs)
	for i := range pairs {
		engines[i], written[i] = engine(), rows
		bares[i] = bare()
		ratios[i] = engines[i] / bares[i]
	}
	b.ReportMetric(median(engines), "engine/s")
	b.ReportMetric(median(bares), "bare/s")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(written), "rows/lifecycle")
	lifecycles := float64(pairs * callers * perCaller)
	b.ReportMetric(lifecycles*median(written)/float64(counted.commits.Load()), "engine-rows/commit")
	b.ReportMetric(lifecycles*median(written)/float64(loop.commits.Load()), "bare-rows/commit")
}

// A counted store counts what the engine commits.
type counted struct {
	store.Store
	commits atomic.Int64
}

func (c *counted) Commit(ctx context.Context, b store.Batch, decide func(store.Loaded) (store.Writes, error)) error {
	c.commits.Add(1)
	return c.Store.Commit(ctx, b, decide)
}

// round has each of callers run perCaller lifecycles, and returns how many were done per second. n
// counts all of them.
func round(b *testing.B, callers, perCaller int, lifecycle func(key string, n int) error) float64 {
	began := time.Now()
	if err := drive(callers, perCaller, lifecycle); err != nil {
		b.Error(err)
	}
	return float64(callers*perCaller) / time.Since(began).Seconds()
}

// drive has each of callers run perCaller lifecycles; a caller stops at its first error.
func drive(callers, perCaller int, lifecycle func(key string, n int) error) error {
	var all sync.WaitGroup
	var count atomic.Int64
	failed := make([]error, callers)
	for caller := range callers {
		all.Go(func() {
			key := fmt.Sprintf("key-%d", caller)
			for range perCaller {
				if failed[caller] = lifecycle(key, int(count.Add(1))-1); failed[caller] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

func seqOf(b *testing.B, peer *peer.Peer) uint64 {
	listing, err := peer.ListJSON(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	return listing.Seq
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the q-quantile of values.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
