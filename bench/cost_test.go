package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi/internal/pgtest"
	"github.com/kettubot/kapi/peer"
)

// BenchmarkCost measures what a lifecycle over PostgreSQL costs, and so what limits it: processor time
// of the peer and of the server's processes, transactions, round trips and bytes between the two, bytes
// of WAL, and the share of time that the server spends in fsync. One "turn" is a change of direction on
// a connection and back, which costs one network latency.
func BenchmarkCost(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			server := startServer(b)
			database := server.Database(b)
			peer := openPeer(b, server.DSN(database))
			perCaller := 3 * aSecond(callers, func(perCaller int) float64 { return round(b, callers, perCaller, doNothing(peer)) })
			for b.Loop() {
				cost(b, peer, server, database, callers, perCaller)
			}
			b.ReportMetric(0, "ns/op")
		})
		b.Run(fmt.Sprintf("bytes/callers=%d", callers), func(b *testing.B) {
			server := startServer(b)
			wire := tap(b, server.DSN("postgres"))
			peer := openPeer(b, wire.dsn(server.Database(b)))
			perCaller := aSecond(callers, func(perCaller int) float64 { return round(b, callers, perCaller, doNothing(peer)) })
			for b.Loop() {
				up, down, turns := wire.up.Load(), wire.down.Load(), wire.turns.Load()
				round(b, callers, perCaller, doNothing(peer))
				n := float64(callers * perCaller)
				b.ReportMetric(float64(wire.up.Load()-up)/n, "B-to-server/lifecycle")
				b.ReportMetric(float64(wire.down.Load()-down)/n, "B-from-server/lifecycle")
				b.ReportMetric(float64(wire.turns.Load()-turns)/n, "turns/lifecycle")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func cost(b *testing.B, peer *peer.Peer, server *pgtest.Server, database string, callers, perCaller int) {
	transactions := func() (n float64) {
		for _, count := range peer.Stats().BatchChanges.Counts {
			n += float64(count)
		}
		return n
	}
	wal := func() (bytes, inSync float64) {
		server.Query(b, database, `SELECT wal_bytes::float8, wal_sync_time FROM pg_stat_wal`, &bytes, &inSync)
		return bytes, inSync
	}
	ours, theirs, began := cpu(b, os.Getpid()), cpuOfServer(b, server), time.Now()
	commits := transactions()
	bytes, inSync := wal()
	rate := round(b, callers, perCaller, doNothing(peer))
	took := time.Since(began)
	ours, theirs = cpu(b, os.Getpid())-ours, cpuOfServer(b, server)-theirs
	time.Sleep(2 * time.Second) // a server process reports its statistics up to a second later
	bytesNow, inSyncNow := wal()
	n := float64(callers * perCaller)
	b.ReportMetric(rate, "kapi/s")
	b.ReportMetric(100*ours.Seconds()/took.Seconds(), "%-of-a-core-peer")
	b.ReportMetric(100*theirs.Seconds()/took.Seconds(), "%-of-a-core-server")
	b.ReportMetric((inSyncNow-inSync)/10/took.Seconds(), "%-of-time-fsync")
	b.ReportMetric((transactions()-commits)/n, "transactions/lifecycle")
	b.ReportMetric((bytesNow-bytes)/n, "B-WAL/lifecycle")
}

// cpu returns the processor time that a process has used.
func cpu(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0 // the process has ended
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, err := strconv.Atoi(fields[12])
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * time.Second / 100 // USER_HZ
}

// cpuOfServer returns the processor time of all of a server's processes.
func cpuOfServer(b *testing.B, server *pgtest.Server) time.Duration {
	sum := cpu(b, server.PID())
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", server.PID()))
	if err != nil {
		b.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(children)) {
		n, _ := strconv.Atoi(pid)
		sum += cpu(b, n)
	}
	return sum
}
