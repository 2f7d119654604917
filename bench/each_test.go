package bench

import (
	"context"
	"encoding/json"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/operation"
)

// A stillHandle has an operation that is never stopped. Its Proceed costs an atomic read, its checkpoints nothing.
type stillHandle struct {
	kapi.OperationHandle
	stopped atomic.Bool
	saves   int
}

func (h *stillHandle) Load(string, any) (bool, error) { return false, nil }

func (h *stillHandle) Save(_ string, v any) error {
	h.saves++
	_, err := json.Marshal(v)
	return err
}

func (h *stillHandle) Proceed(context.Context) error {
	if h.stopped.Load() {
		return kapi.ErrStopped
	}
	return nil
}

// eachItems is how many items an Each of the benchmark has.
const eachItems = 1_000_000

// BenchmarkEach measures what Each adds to the work of an item: a million items that do nothing, with a key that is
// encoded when it is stored, and with one that may change and so is encoded for each item.
func BenchmarkEach(b *testing.B) {
	b.Run("numbers", func(b *testing.B) { eachItem(b, func(i int) int { return i }) })
	type row struct {
		Table string `json:"table"`
		ID    int    `json:"id"`
	}
	b.Run("structs", func(b *testing.B) { eachItem(b, func(i int) row { return row{"t", i} }) })
	b.Run("times", func(b *testing.B) { eachItem(b, func(i int) time.Time { return time.Unix(int64(i), 0) }) })
	b.Run("pointers", func(b *testing.B) { eachItem(b, func(i int) *row { return &row{"t", i} }) })
}

func eachItem[C any](b *testing.B, key func(int) C) {
	b.ReportAllocs()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	items, saves := 0, 0
	for b.Loop() {
		h := &stillHandle{}
		err := operation.Each(ctx, operation.Wrap(h), "items", func(context.Context, *C) iter.Seq2[C, error] {
			return func(yield func(C, error) bool) {
				for i := 0; i < eachItems && yield(key(i), nil); i++ {
				}
			}
		}, func(context.Context, C) error { items++; return nil }, operation.EachOptions{Every: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		saves += h.saves
	}
	if items != b.N*eachItems || saves < b.N {
		b.Fatalf("%d items were worked on, and %d keys stored", items, saves)
	}
	b.ReportMetric(float64(items)/b.Elapsed().Seconds(), "items/s")
}
