package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
)

// BenchmarkVisibility measures how long a change by one process takes to reach a watcher in another,
// both from the call that makes it (which includes the fsync) and from its acknowledgement. Changes
// come at random moments.
func BenchmarkVisibility(b *testing.B) {
	onEachStore(b, func(b *testing.B, at string) {
		for b.Loop() {
			visibility(b, at)
		}
		b.ReportMetric(0, "ns/op")
	})
}

// onEachStore runs a measurement on a new SQLite file and on a new PostgreSQL database.
func onEachStore(b *testing.B, f func(b *testing.B, at string)) {
	b.Run("sqlite", func(b *testing.B) { f(b, filepath.Join(b.TempDir(), "kapi.db")) })
	b.Run("postgres", func(b *testing.B) {
		server := startServer(b)
		f(b, server.DSN(server.Database(b)))
	})
}

func visibility(b *testing.B, at string) {
	const changes = 1000
	peer := openPeer(b, at)
	other := startOther(b, "watch", at)
	called, acknowledged := make([]time.Time, changes), make([]time.Time, changes)
	done := make(chan error, 1)
	go func() {
		done <- peer.Do(context.Background(), kapi.Spec{Title: title}, func(_ context.Context, h kapi.Handle) error {
			for i := range changes {
				time.Sleep(rand.N(20 * time.Millisecond))
				called[i] = time.Now()
				if err := h.Impacted(strconv.Itoa(i)); err != nil {
					return err
				}
				acknowledged[i] = time.Now()
			}
			return nil
		})
	}()
	seen := make([]int64, changes)
	for last := 0; last < changes-1; {
		var at int64
		if n, _ := fmt.Sscan(other.line(), &at, &last); n == 2 {
			seen[last] = at
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	other.stop()
	var fromCall, fromAck []float64
	for i, at := range seen {
		if at != 0 { // otherwise a newer one replaced it: a watcher gets only the newest
			fromCall = append(fromCall, float64(at-called[i].UnixNano())/1e6)
			fromAck = append(fromAck, float64(at-acknowledged[i].UnixNano())/1e6)
		}
	}
	b.ReportMetric(float64(len(fromCall)), "seen")
	b.ReportMetric(quantile(fromCall, 0.5), "p50-ms")
	b.ReportMetric(quantile(fromCall, 0.99), "p99-ms")
	b.ReportMetric(quantile(fromCall, 1), "max-ms")
	b.ReportMetric(quantile(fromAck, 0.5), "p50-ms-from-ack")
	b.ReportMetric(quantile(fromAck, 0.99), "p99-ms-from-ack")
}

// BenchmarkIdle measures what an idle peer costs, in percent of a core: alone, and while another
// process runs 1,000 actions.
func BenchmarkIdle(b *testing.B) {
	for _, actions := range []int{0, 1000} {
		b.Run(fmt.Sprintf("actions=%d", actions), func(b *testing.B) {
			const watched = 20 * time.Second
			for b.Loop() {
				path := filepath.Join(b.TempDir(), "kapi.db")
				hold(b, path, actions)
				other := startOther(b, "idle", path)
				time.Sleep(watched)
				other.stop()
				spent, err := strconv.Atoi(other.line())
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(spent)*100/float64(watched.Microseconds()), "%-of-a-core")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func openPeer(b *testing.B, at string) *peer.Peer {
	s, err := openStore(at)
	if err != nil {
		b.Fatal(err)
	}
	peer, err := peer.Open(context.Background(), s, peer.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = peer.Close() })
	return peer
}

// hold runs actions in this process until the benchmark ends.
func hold(b *testing.B, path string, actions int) {
	peer := openPeer(b, path)
	for i := range actions {
		if err := startOne(peer, i); err != nil {
			b.Fatal(err)
		}
	}
}

// An other is another process on the same store.
type other struct {
	b     *testing.B
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func startOther(b *testing.B, role, at string) *other {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, storeVariable+"="+at)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	o := &other{b, stdin, bufio.NewScanner(stdout)}
	if line := o.line(); line != "ready" {
		b.Fatalf("the other process said %q", line)
	}
	return o
}

func (o *other) line() string {
	if !o.lines.Scan() {
		o.b.Fatal("the other process ended: ", o.lines.Err())
	}
	return o.lines.Text()
}

// ask sends a command to the other process and returns its answer.
func (o *other) ask(format string, args ...any) string {
	o.send(format, args...)
	return o.line()
}

func (o *other) send(format string, args ...any) {
	if _, err := fmt.Fprintf(o.stdin, format+"\n", args...); err != nil {
		o.b.Fatal(err)
	}
}

func (o *other) stop() { _ = o.stdin.Close() }
