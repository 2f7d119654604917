package bench

import (
	"bufio"
	"fmt"
	"os"
	"testing"
	"time"
)

// BenchmarkSpread compares callers at one peer with the same number spread over eight peers, on one
// PostgreSQL server. Every peer is a process of its own. The eight peers follow each other's changes.
// All keys are different.
func BenchmarkSpread(b *testing.B) {
	const peers = 8
	for _, callers := range []int{64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			for b.Loop() {
				server := startServer(b)
				alone, eight := spreadOver(b, server.DSN(server.Database(b)), 1), spreadOver(b, server.DSN(server.Database(b)), peers)
				at := func(others []*other) func(int) float64 {
					return func(perCaller int) float64 { return together(b, others, callers, perCaller) }
				}
				one, many := aSecond(callers, at(alone)), aSecond(callers, at(eight))
				ones, manies, ratios := make([]float64, versus), make([]float64, versus), make([]float64, versus)
				for i := range versus {
					ones[i], manies[i] = at(alone)(one), at(eight)(many)
					ratios[i] = manies[i] / ones[i]
				}
				b.ReportMetric(median(ones), "one/s")
				b.ReportMetric(median(manies), "eight/s")
				b.ReportMetric(median(ratios), "ratio")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func spreadOver(b *testing.B, dsn string, peers int) []*other {
	others := make([]*other, peers)
	for i := range others {
		others[i] = startOther(b, "lifecycles", dsn)
	}
	return others
}

// together has callers spread over processes, and returns how many lifecycles a second they achieve in
// total.
func together(b *testing.B, others []*other, callers, perCaller int) float64 {
	began := time.Now()
	for i, o := range others {
		o.send("%d %d %d", i, callers/len(others), perCaller)
	}
	for _, o := range others {
		if line := o.line(); line != "done" {
			b.Fatal(line)
		}
	}
	return float64(callers*perCaller) / time.Since(began).Seconds()
}

// lifecycles runs lifecycles for each line on stdin: a number for the prefix of the keys, how many
// callers, how many each.
func lifecycles(peer joined) error {
	do := doNothing(peer.Peer)
	fmt.Println("ready")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var me, callers, perCaller int
		if _, err := fmt.Sscan(lines.Text(), &me, &callers, &perCaller); err != nil {
			return err
		}
		err := drive(callers, perCaller, func(key string, n int) error { return do(fmt.Sprintf("peer-%d-%s", me, key), n) })
		if err != nil {
			return err
		}
		fmt.Println("done")
	}
	return nil
}
