package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/riverqueue/river/rivertype"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/peer"
)

// startServer starts a PostgreSQL server that syncs to disk, with default settings: synchronous_commit
// is on, shared_buffers is 128 MB.
func startServer(b *testing.B) *pgtest.Server {
	return pgtest.For(b, pgtest.Options{Durable: true, Settings: map[string]string{
		"shared_buffers": "128MB", "max_connections": "200", "track_wal_io_timing": "on",
	}})
}

// versus is how many rounds of kapi alternate with rounds of River, of about a second each.
const versus = 7

// BenchmarkRiver compares lifecycles per second with those of River's unique jobs, on the same
// PostgreSQL server, in separate databases. For both, a lifecycle is:
//
//   - a start with a key, refused if it is held; on disk before the caller goes on;
//   - the work, which is nothing, begun by one worker;
//   - the end and with it the key's release; on disk before the caller is told.
//
// For kapi that is Peer.Do. For River it is Insert with UniqueOpts over all states but the final ones,
// a fetch, which is on disk as well, and a completion, of which the caller learns in one of several
// ways (see way). In the ways called "unawaited", callers of neither wait for the end: for kapi that is
// Peer.Start, and the round is over when all have ended.
func BenchmarkRiver(b *testing.B) {
	for _, callers := range []int{64, 512} {
		for _, w := range []way{
			{false, byEvent},
			{false, byWorker},
			{false, nobodyWaits},
			{true, byEvent},
			{true, byWorker},
			{true, nobodyWaits},
		} {
			b.Run(fmt.Sprintf("callers=%d/%s", callers, w), func(b *testing.B) {
				for b.Loop() {
					compareRiver(b, callers, w)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func compareRiver(b *testing.B, callers int, w way) {
	server := startServer(b)
	peer := openPeer(b, server.DSN(server.Database(b)))
	q := openRiver(b, server.DSN(server.Database(b)), w)
	defer q.Close(b)

	lifecycle := doNothing(peer)
	if w.ends == nobodyWaits {
		lifecycle = startNothing(peer)
	}
	engine := untilAllEnded(b, callers, lifecycle, func() uint64 { return peer.Stats().Ends[kapi.StatusCompleted] })
	theirs := untilAllEnded(b, callers, q.lifecycle, q.ended.Load)
	ours, perCaller := aSecond(callers, engine), aSecond(callers, theirs)
	engines, rivers, ratios := make([]float64, versus), make([]float64, versus), make([]float64, versus)
	for i := range versus {
		engines[i] = engine(ours)
		rivers[i] = theirs(perCaller)
		ratios[i] = engines[i] / rivers[i]
	}
	b.ReportMetric(median(engines), "kapi/s")
	b.ReportMetric(median(rivers), "river/s")
	b.ReportMetric(median(ratios), "ratio")
}

// doNothing returns a lifecycle without a change.
func doNothing(peer *peer.Peer) func(key string, n int) error {
	operation := func(context.Context, kapi.Handle) error { return nil }
	return func(key string, _ int) error {
		return peer.Do(context.Background(), kapi.Spec{Title: title, Keys: []string{key}}, operation)
	}
}

// startNothing returns a lifecycle whose end nobody waits for.
func startNothing(peer *peer.Peer) func(key string, n int) error {
	operation := func(context.Context, kapi.Handle) error { return nil }
	return func(key string, n int) error {
		_, err := peer.Start(context.Background(), kapi.Spec{Title: title, Keys: []string{fmt.Sprintf("%s-%d", key, n)}}, operation)
		return err
	}
}

// untilAllEnded measures rounds that last until everything started has ended.
func untilAllEnded(b *testing.B, callers int, lifecycle func(string, int) error, ended func() uint64) func(int) float64 {
	return func(perCaller int) float64 {
		goal := ended() + uint64(callers*perCaller)
		began := time.Now()
		round(b, callers, perCaller, lifecycle)
		for ended() < goal && !b.Failed() {
			time.Sleep(time.Millisecond)
		}
		return float64(callers*perCaller) / time.Since(began).Seconds()
	}
}

// aSecond warms up, and returns how many lifecycles each caller does in a second.
func aSecond(callers int, rate func(perCaller int) float64) int {
	rate(max(2, 1000/callers))
	return max(2, int(rate(max(2, 2000/callers)))/callers)
}

func keyOf(job *rivertype.JobRow) string {
	var args lifecycleArgs
	_ = json.Unmarshal(job.EncodedArgs, &args)
	return args.Key
}
