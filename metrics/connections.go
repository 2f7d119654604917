package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kettubot/kapi/server"
)

// Connections returns a collector of a server's connection counts.
func Connections(c *server.Connections) prometheus.Collector {
	return &connections{
		of:       c,
		open:     prometheus.NewDesc("kapi_connections", "Open connections: signed_in if the client has shown a valid token, otherwise stranger.", []string{"client"}, nil),
		closed:   prometheus.NewDesc("kapi_connections_closed_total", "Connections closed to make room for others.", nil, nil),
		failures: prometheus.NewDesc("kapi_accept_failures_total", "Failures to accept a connection, for example because of too many open files.", nil, nil),
	}
}

type connections struct {
	of                     *server.Connections
	open, closed, failures *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *connections) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.open, c.closed, c.failures} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (c *connections) Collect(metrics chan<- prometheus.Metric) {
	to, s := sink(metrics), c.of.Stats()
	to.gauge(c.open, float64(s.SignedIn), "signed_in")
	to.gauge(c.open, float64(s.Strangers), "stranger")
	to.counter(c.closed, s.Closed)
	to.counter(c.failures, s.Failures)
}
