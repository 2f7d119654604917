package metrics

import (
	"context"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/gateway"
	"github.com/kettubot/kapi/peer"
)

// otherKeys is the label for refusals by keys that have no label of their own. A key with this name is
// counted there, too.
const otherKeys = "other"

// followWithin is how long a scrape waits for a peer that has yet to follow what all peers do.
const followWithin = 2 * time.Second

// A collector converts counts into metrics, at each scrape.
type collector struct {
	peer    *peer.Peer
	gateway *gateway.Counters
	version string

	build                                 *prometheus.Desc
	actions                               *prometheus.Desc
	starts, ends, refusals                *prometheus.Desc
	seenStarts, seenEnds                  *prometheus.Desc
	batches, batchChanges, batchSeconds   *prometheus.Desc
	lag, age, seq                         *prometheus.Desc
	connections, frames, coalesced, ended *prometheus.Desc
}

// Collector returns a collector of a peer's metrics and, if counters is not nil, of those of the
// gateways that count in it. To use several peers in one registry, distinguish them with
// prometheus.WrapRegistererWith.
func Collector(p *peer.Peer, counters *gateway.Counters) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("kapi_"+name, help, labels, nil)
	}
	return &collector{
		peer: p, gateway: counters, version: version(),
		build:   desc("build_info", "Always 1; the labels are the versions of kapi and of Go.", "version", "goversion"),
		actions: desc("actions", "Ongoing actions by status, as this peer knows them.", "status"),

		starts:   desc("starts_total", "Actions that this peer started. A sum over peers counts each once."),
		ends:     desc("ends_total", "Ends of actions that this peer recorded, by final status. An action that failed and was dismissed counts once as failed and once as aborted. A sum over peers counts each once.", "status"),
		refusals: desc("refusals_total", "Starts that this peer refused because an ongoing action held a key, by that key; keys beyond the first 100 count as other. A sum over peers counts each once.", "key"),

		seenStarts: desc("seen_starts_total", "Actions that this peer saw being started, by any peer. All peers count the same actions: don't sum."),
		seenEnds:   desc("seen_ends_total", "Ends of actions that this peer saw, recorded by any peer. All peers count the same ends: don't sum.", "status"),

		batches:      desc("commit_batches_total", "Transactions of this peer by outcome: written, empty (nothing to write or sync), failed.", "outcome"),
		batchChanges: desc("commit_batch_changes", "Changes per written transaction."),
		batchSeconds: desc("commit_duration_seconds", "Duration of each written transaction, from requesting the store's write lock until it is on disk."),

		lag: desc("feed_lag_seconds", "Time from a change by another peer until this peer knew of it, by the wall clocks of both; never below 0."),
		age: desc("feed_age_seconds", "Time since this peer was last up to date with the store. At most about 1, unless the store can't be read."),
		seq: desc("feed_seq", "Number of the newest change that this peer knows of."),

		connections: desc("gateway_connections", "Open connections to the gateway."),
		frames:      desc("gateway_frames_sent_total", "Messages that the gateway sent; a message to several connections counts once for each."),
		coalesced:   desc("gateway_coalesced_total", "Updates that were not sent to a connection because a newer update of the same action replaced them while they waited."),
		ended:       desc("gateway_closed_total", "Connections that ended, by close code and reason.", "code", "reason"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.build, c.actions, c.starts, c.ends, c.refusals, c.seenStarts, c.seenEnds,
		c.batches, c.batchChanges, c.batchSeconds, c.lag, c.age, c.seq,
	} {
		descs <- d
	}
	if c.gateway != nil {
		for _, d := range []*prometheus.Desc{c.connections, c.frames, c.coalesced, c.ended} {
			descs <- d
		}
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	to := sink(metrics)
	to.gauge(c.build, 1, c.version, runtime.Version())
	c.collectPeer(to)
	if c.gateway != nil {
		c.collectGateway(to)
	}
}

func (c *collector) collectPeer(to sink) {
	ctx, cancel := context.WithTimeout(context.Background(), followWithin)
	defer cancel()
	_ = c.peer.Follow(ctx) // while the store can't be read, there is still what the peer has counted
	s := c.peer.Stats()
	for status := kapi.StatusPending; status <= kapi.StatusFailed; status++ {
		to.gauge(c.actions, float64(s.Ongoing[status]), status.String())
	}
	to.counter(c.starts, s.Starts)
	to.counter(c.seenStarts, s.SeenStarts)
	for status := kapi.StatusFailed; status <= kapi.StatusCompleted; status++ {
		to.counter(c.ends, s.Ends[status], status.String())
		to.counter(c.seenEnds, s.SeenEnds[status], status.String())
	}
	others := s.RefusalsOther
	for key, n := range s.Refusals {
		if key == otherKeys {
			others += n
			continue
		}
		to.counter(c.refusals, n, key)
	}
	to.counter(c.refusals, others, otherKeys)

	to.counter(c.batches, total(s.BatchChanges), "written")
	to.counter(c.batches, s.BatchesEmpty, "empty")
	to.counter(c.batches, s.BatchesFailed, "failed")
	to.histogram(c.batchChanges, s.BatchChanges)
	to.histogram(c.batchSeconds, s.BatchSeconds)

	to.histogram(c.lag, s.FeedLag)
	to.gauge(c.age, s.FeedAge.Seconds())
	to.gauge(c.seq, float64(s.Seq))
}

func (c *collector) collectGateway(to sink) {
	to.gauge(c.connections, float64(c.gateway.Connections()))
	to.counter(c.frames, c.gateway.FramesSent())
	to.counter(c.coalesced, c.gateway.Coalesced())
	for _, e := range c.gateway.Endings() {
		code := "none"
		if e.Code != 0 {
			code = strconv.Itoa(e.Code)
		}
		to.counter(c.ended, e.Count, code, e.Reason)
	}
}

// A sink receives the metrics of one scrape.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, n uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func (s sink) histogram(d *prometheus.Desc, h peer.Histogram) {
	upTo, n := make(map[float64]uint64, len(h.Bounds)), uint64(0)
	for i, bound := range h.Bounds {
		n += h.Counts[i]
		upTo[bound] = n
	}
	s <- prometheus.MustNewConstHistogram(d, total(h), h.Sum, upTo)
}

func total(h peer.Histogram) (n uint64) {
	for _, of := range h.Counts {
		n += of
	}
	return n
}

// version returns kapi's version, whether kapi is this program's main module or a dependency.
func version() string {
	const path = "github.com/kettubot/kapi"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == path && m.Version != "" {
			return m.Version
		}
	}
	return "(devel)"
}
