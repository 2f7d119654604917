package bench

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/client"
	"github.com/kettubot/kapi/peer"
)

// connections is how many clients each server of BenchmarkFanOut has.
const connections = 10_000

// BenchmarkFanOut measures how long an update takes to reach all of 10,000 connections in another
// process, beside a bare loop over the same WebSocket library, and beside bare TCP with a goroutine per
// connection. kapi's time includes the commit with its fsync.
func BenchmarkFanOut(b *testing.B) {
	for b.Loop() {
		stages := map[string]*stage{}
		for _, kind := range []string{"gateway", "websocket", "tcp"} {
			stages[kind] = newStage(b, kind)
		}
		b.ReportMetric(stages["gateway"].perConnection, "KiB/connection")
		b.ReportMetric(stages["websocket"].perConnection, "KiB/connection-websocket")

		all := map[string][]float64{}
		var ofWebSocket, ofTCP []float64
		// One at a time: kapi's readers get only the newest of updates that come faster than they can
		// be sent.
		for range 25 {
			took := map[string]float64{}
			for kind, s := range stages {
				took[kind] = s.publish(1, 0).longest
				all[kind] = append(all[kind], took[kind])
			}
			ofWebSocket = append(ofWebSocket, took["websocket"]/took["gateway"])
			ofTCP = append(ofTCP, took["tcp"]/took["gateway"])
		}
		for kind, took := range all {
			b.ReportMetric(connections/median(took)*1000, "frames/s-"+kind)
		}
		b.ReportMetric(median(ofWebSocket), "of-websocket")
		b.ReportMetric(median(ofTCP), "of-tcp")

		var p99, ratios []float64
		for range 5 {
			own, bare := stages["gateway"].publish(25, 200*time.Millisecond), stages["websocket"].publish(25, 200*time.Millisecond)
			p99 = append(p99, own.p99)
			ratios = append(ratios, own.p99/bare.p99)
		}
		b.ReportMetric(median(p99), "p99-ms-at-5/s")
		b.ReportMetric(median(ratios), "p99-to-websocket")
	}
	b.ReportMetric(0, "ns/op")
}

// A stage is a server and its readers, each a process of its own.
type stage struct {
	server, readers *other
	perConnection   float64 // KiB resident in the server
}

func newStage(b *testing.B, kind string) *stage {
	s := &stage{server: startOther(b, kind, filepath.Join(b.TempDir(), "kapi.db")), readers: startOther(b, "readers", "")}
	address := s.server.line()
	before := s.resident()
	if answer := s.readers.ask("connect %s %s %d", address, kind, connections); answer != "connected" {
		b.Fatal(answer)
	}
	time.Sleep(5 * time.Second)
	s.perConnection = float64(s.resident()-before) / connections
	s.publish(1, 0) // warms up
	return s
}

func (s *stage) resident() int {
	kib, err := strconv.Atoi(s.server.ask("resident"))
	if err != nil {
		s.server.b.Fatal(err)
	}
	return kib
}

type spread struct {
	p50, p99, longest float64 // ms
	bytes             int
}

// publish sends the updates to all connections, and returns how long they took to arrive.
func (s *stage) publish(updates int, pause time.Duration) (d spread) {
	s.readers.ask("expect %d", updates)
	s.server.ask("publish %d %v", updates, pause)
	if _, err := fmt.Sscan(s.readers.line(), &d.p50, &d.p99, &d.longest, &d.bytes); err != nil {
		s.server.b.Fatal(err)
	}
	return d
}

// BenchmarkList measures GET /v4/kapi/actions with 1,000 actions under wrk, beside a handler that
// checks the same token and writes the same response from memory.
func BenchmarkList(b *testing.B) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		b.Skip("install wrk to measure this (Debian: apt-get install wrk)")
	}
	for _, unchanged := range []bool{false, true} {
		b.Run(fmt.Sprintf("unchanged=%t", unchanged), func(b *testing.B) {
			for b.Loop() {
				other := startOther(b, "list", filepath.Join(b.TempDir(), "kapi.db"))
				var own, bare, token, etag string
				var size int
				if _, err := fmt.Sscan(other.line(), &own, &bare, &token, &etag, &size); err != nil {
					b.Fatal(err)
				}
				args := []string{"-t1", "-c16", "-d2s", "-H", "Authorization: Bot " + token}
				if unchanged {
					args = append(args, "-H", "If-None-Match: "+etag)
				}
				rate := func(address string) float64 {
					out, err := exec.Command(wrk, append(args, "http://"+address+"/v4/kapi/actions")...).CombinedOutput()
					if err != nil || strings.Contains(string(out), "Non-2xx") {
						b.Fatalf("%v: %s", err, out)
					}
					_, rest, _ := strings.Cut(string(out), "Requests/sec:")
					var perSecond float64
					if _, err := fmt.Sscan(rest, &perSecond); err != nil {
						b.Fatalf("%v: %s", err, out)
					}
					return perSecond
				}
				var rates, ratios []float64
				for range 9 {
					a, b := rate(own), rate(bare)
					rates = append(rates, a)
					ratios = append(ratios, a/b)
				}
				other.stop()
				b.ReportMetric(median(rates), "requests/s")
				b.ReportMetric(median(ratios), "of-memory")
				b.ReportMetric(float64(size), "bytes")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkWatch measures the whole path of a change, from the call that makes it to package client in
// another process: commit, feed, frame, client.
func BenchmarkWatch(b *testing.B) {
	const changes = 500
	for b.Loop() {
		other := startOther(b, "gateway", filepath.Join(b.TempDir(), "kapi.db"))
		c, err := client.New("http://"+other.line(), benchToken, client.Options{})
		if err != nil {
			b.Fatal(err)
		}
		w, err := c.Watch(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		other.ask("publish %d 10ms", changes)
		var took []float64
		for range changes {
			a, err := w.Next(context.Background())
			if err != nil {
				b.Fatal(err)
			}
			at, err := strconv.ParseInt(strings.TrimPrefix(a.State, stamp), 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			took = append(took, float64(time.Now().UnixNano()-at)/1e6)
		}
		w.Close()
		_ = c.Close()
		other.stop()
		b.ReportMetric(quantile(took, 0.5), "p50-ms")
		b.ReportMetric(quantile(took, 0.99), "p99-ms")
		b.ReportMetric(quantile(took, 1), "max-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// startOne starts an action that runs until the process ends.
func startOne(peer *peer.Peer, i int) error {
	spec := kapi.Spec{
		Title: "Resharding the cluster", Description: "Moves slots to the node that was added",
		Keys: []string{fmt.Sprintf("reshard-%d", i)},
	}
	_, err := peer.Start(context.Background(), spec, func(ctx context.Context, h kapi.Handle) error {
		h.SetProgress(0.25)
		h.SetState("Moving slot 5461 from 10.0.0.1:6379 to 10.0.0.4:6379")
		<-ctx.Done()
		return nil
	})
	return err
}
