package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/sqlite"
)

// BenchmarkDefined compares durable lifecycles per second (start acknowledged, end recorded) of an operation that is
// started by its name with those of Peer.Start. Both do nothing, at the same peer, in rounds that alternate. In "bare" the
// operation takes no arguments, in "arguments" it has some, which are stored, and in "preflight" it has a preflight.
func BenchmarkDefined(b *testing.B) {
	for _, kind := range []string{"bare", "arguments", "preflight"} {
		for _, callers := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("%s/callers=%d", kind, callers), func(b *testing.B) {
				for b.Loop() {
					compareDefined(b, kind, callers)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// uncalled counts operations that were started and not called yet.
type uncalled struct{ sync.WaitGroup }

func (u *uncalled) definition(kind string) (kapi.Definition, json.RawMessage) {
	d := kapi.Definition{
		Name: "nothing", Title: title,
		Run: func(context.Context, kapi.OperationHandle, json.RawMessage) error { u.Done(); return nil },
	}
	arguments := json.RawMessage(`{}`)
	switch kind {
	case "arguments":
		arguments = json.RawMessage(`{"from":"db-1.example.com","to":"db-2.example.com","slots":[1,2,3]}`)
		d.Schema = json.RawMessage(`{"type":"object"}`)
		d.Check = func(given json.RawMessage) (json.RawMessage, []kapi.FieldError) { return given, nil }
	case "preflight":
		d.Preflight = func(context.Context, json.RawMessage) (kapi.Preview, error) { return kapi.Preview{}, nil }
	}
	return d, arguments
}

func compareDefined(b *testing.B, kind string, callers int) {
	ctx := context.Background()
	s, err := sqlite.Open(filepath.Join(b.TempDir(), "kapi.db"))
	if err != nil {
		b.Fatal(err)
	}
	var called uncalled
	d, arguments := called.definition(kind)
	k, err := peer.Open(ctx, s, peer.Options{Operations: []kapi.Definition{d}})
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	if err := k.Follow(ctx); err != nil {
		b.Fatal(err)
	}
	perCaller := max(16, min(600, 12000/callers))
	lifecycles := func(start func() error) float64 {
		began := time.Now()
		round(b, callers, perCaller, func(string, int) error {
			called.Add(1)
			return start()
		})
		called.Wait()
		for len(list(b, k)) > 0 { // the last ends are being recorded
			time.Sleep(time.Millisecond)
		}
		return float64(callers*perCaller) / time.Since(began).Seconds()
	}
	plain := func() float64 {
		return lifecycles(func() error {
			_, err := k.Start(ctx, kapi.Spec{Title: title}, func(context.Context, kapi.Handle) error { called.Done(); return nil })
			return err
		})
	}
	defined := func() float64 {
		return lifecycles(func() error {
			_, err := k.StartOperation(ctx, d.Name, arguments, kapi.StartOptions{})
			return err
		})
	}
	plain() // warms up
	defined()
	plains, defineds, ratios := make([]float64, pairs), make([]float64, pairs), make([]float64, pairs)
	for i := range pairs {
		plains[i], defineds[i] = plain(), defined()
		ratios[i] = defineds[i] / plains[i]
	}
	b.ReportMetric(median(plains), "plain/s")
	b.ReportMetric(median(defineds), "defined/s")
	b.ReportMetric(median(ratios), "ratio")
}

func list(b *testing.B, k *peer.Peer) []kapi.Action {
	all, err := k.List(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	return all
}
